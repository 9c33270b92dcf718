"""Files of a workspace in a store that every machine reaches, for machines that do not share its disk.

`store` is any file system of fsspec (S3, GCS, Azure, a directory); `mirror` keeps a directory here and its
copy there alike while both sides write; `claim` lets one machine at a time work on something. What is copied,
and when, is decided in `tasks/artifacts.py`.
"""
