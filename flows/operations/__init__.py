"""Looking after an installation and its workspaces: doctor, backup, restore, clean."""
