// Brings the page of the addresses to life: its commands can be copied, its contents filtered. The page says all it has
// to say without this.
"use strict";
{
  const SAYS_COPIED = 2000;
  const page = document.querySelector(".page");
  const said = document.getElementById("said");

  for (const button of document.querySelectorAll(".line .button-small")) {
    const label = button.firstElementChild;
    let timer;
    button.addEventListener("click", async () => {
      const command = button.previousElementSibling.textContent;
      // Undefined without HTTPS, away from localhost.
      const copied = await navigator.clipboard?.writeText(command).then(() => true, () => false);
      label.textContent = copied ? "Copied" : "Not allowed";
      said.textContent = copied ? "Copied." : "The browser does not allow copying here.";
      clearTimeout(timer);
      timer = setTimeout(() => {
        label.textContent = "Copy";
        said.textContent = "";
      }, SAYS_COPIED);
    });
  }

  const field = document.getElementById("filter");
  const note = document.getElementById("filtered");
  const articles = [...document.querySelectorAll(".operation, .schema")];
  const texts = new Map(articles.map((article) => [article, article.textContent.toLowerCase()]));
  const groups = [...document.querySelectorAll(".group")];
  const links = [...document.querySelectorAll(".contents li li")];

  function filter() {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const [article, text] of texts) article.hidden = !words.every((word) => text.includes(word));
    for (const group of groups) group.hidden = ![...group.querySelectorAll("article")].some((article) => !article.hidden);
    for (const link of links) link.hidden = document.getElementById(link.firstElementChild.hash.slice(1)).hidden;
    const found = articles.filter((article) => !article.hidden).length;
    note.textContent = words.length > 0 ? `${found} of ${articles.length}` : "";
  }

  field.addEventListener("input", filter);
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || field.value === "") return;
    event.preventDefault();
    field.value = "";
    filter();
  });
  // A link within the page leads to what is filtered out: it must be seen then.
  addEventListener("hashchange", () => {
    const target = document.getElementById(location.hash.slice(1));
    if (!target?.hidden && !target?.closest("[hidden]")) return;
    field.value = "";
    filter();
    target.scrollIntoView();
  });
  // A browser brings the field's text back with the page.
  filter();
  page.dataset.alive = "true";
}
