// Shows the filters, which do nothing without this script, and hides the examples that do not fit them.
for (const filter of document.querySelectorAll(".filter")) {
  const fields = [...filter.querySelectorAll("select")], words = filter.querySelector("input");
  const examples = [...document.getElementById(filter.dataset.of).querySelectorAll(".example")];
  const texts = examples.map((example) => example.textContent.toLowerCase());
  const apply = () => {
    let shown = 0;
    examples.forEach((example, place) => {
      const fits = fields.every((field) => !field.value || example.dataset[field.name] === field.value)
        && texts[place].includes(words.value.trim().toLowerCase());
      example.hidden = !fits;
      shown += fits;
    });
    filter.querySelector("output").textContent = `${shown} of ${examples.length} shown`;
  };
  filter.addEventListener("input", apply);
  filter.hidden = false;
  apply();
}
// Long texts scroll by keyboard too.
for (const text of document.querySelectorAll(".text")) {
  if (text.scrollHeight > text.clientHeight) text.tabIndex = 0;
}
