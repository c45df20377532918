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
