"use strict";
// Renews the parts of the page that the server says have changed. Without this the page is right when it is loaded.
if (document.querySelector("[data-live]")) {
  const source = new EventSource("/events");
  for (const part of document.querySelectorAll("[data-live]")) {
    source.addEventListener(part.id, (event) => { part.innerHTML = event.data; });
  }
  source.onopen = () => document.body.classList.remove("offline");
  source.onerror = () => document.body.classList.add("offline");
}
// Buttons act without loading the page again; what comes of it is shown by the stream.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  event.preventDefault();
  const body = new URLSearchParams(new FormData(form, event.submitter));
  fetch(form.action, { method: "POST", body, redirect: "manual" })
    .catch(() => document.body.classList.add("offline"));
});
