// What JavaScript adds to the search page: images, suggestions, filters that apply at once, and grades.
"use strict";

const form = document.getElementById("search");
const results = document.getElementById("results");
const preview = document.getElementById("image");
const MAX_SIDE = 640; // pixels; models see at most a few hundred
let image = null; // a data address, or null
let waiting = null;

document.documentElement.classList.add("script");

// Images: by file, camera, drop or paste

async function setImage(file) {
  if (!file || !file.type.startsWith("image/")) return;
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    image = canvas.toDataURL("image/jpeg", 0.9);
  } catch {
    showError("This file is not an image that the browser can read.");
    return;
  }
  preview.querySelector("img").src = image;
  preview.hidden = false;
  form.querySelector("input[name=similar]")?.remove();
  load(1);
}

for (const id of ["file", "camera"]) {
  const input = document.getElementById(id);
  input.addEventListener("change", () => {
    setImage(input.files[0]);
    input.value = ""; // the same file may be chosen again
  });
  input.parentElement.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); input.click(); }
  });
}
document.getElementById("no-image").addEventListener("click", () => {
  image = null;
  preview.hidden = true;
  form.requestSubmit();
});
document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("drop"); });
document.addEventListener("dragleave", () => document.body.classList.remove("drop"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("drop");
  setImage(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
  if (file) setImage(file);
});

// Searches: with an image by this script, since an address cannot hold one; otherwise by the browser

async function load(page) {
  const values = new FormData(form);
  const query = {
    text: values.get("text") ?? "", negative: values.get("negative") ?? "", image,
    weight: Number(values.get("weight") ?? 0.5), filter: values.getAll("filter"), hybrid: values.has("hybrid"),
    model: values.get("model") ?? "champion", compare: values.has("compare"), page,
  };
  waiting?.abort();
  waiting = new AbortController();
  results.setAttribute("aria-busy", "true");
  try {
    const reply = await fetch("/results", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(query), signal: waiting.signal,
    });
    const type = reply.headers.get("content-type") ?? "";
    if (type.startsWith("text/html")) {
      results.innerHTML = await reply.text();
    } else {
      showError((await reply.json()).error.message);
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    showError("The service cannot be reached.");
  }
  results.removeAttribute("aria-busy");
}

function showError(message) {
  const paragraph = document.createElement("p");
  paragraph.className = "error";
  paragraph.setAttribute("role", "alert");
  paragraph.textContent = message;
  results.replaceChildren(paragraph);
}

form.addEventListener("submit", (event) => {
  for (const input of form.querySelectorAll("input[type=text], input[type=search]")) {
    if (!input.value && input.name) input.disabled = true; // no empty values in the address
  }
  if (!image) form.querySelector("input[name=weight]").disabled = true;
  const model = form.querySelector("select[name=model]");
  if (model?.value === "champion") model.disabled = true; // the default
  if (form.querySelector("input[name=text]").value) form.querySelector("input[name=similar]")?.remove();
  if (image) {
    event.preventDefault();
    for (const input of form.querySelectorAll(":disabled")) input.disabled = false;
    load(1);
  }
});
window.addEventListener("pageshow", () => {
  for (const input of form.querySelectorAll(":disabled")) input.disabled = false;
});
form.addEventListener("change", (event) => {
  if (["filter", "compare", "model", "hybrid", "weight"].includes(event.target.name)) form.requestSubmit();
});
results.addEventListener("click", (event) => {
  const link = event.target.closest("a[rel]");
  if (link && image) {
    event.preventDefault();
    load(Number(new URL(link.href).searchParams.get("page") ?? 1));
    window.scrollTo(0, 0);
  }
});

// Suggestions, and filters with many values

const text = form.querySelector("input[name=text]");
const suggestions = document.getElementById("suggestions");
let timer = 0;
text.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    if (!text.value.trim()) return;
    try {
      const reply = await fetch("/v1/suggestions?" + new URLSearchParams({ q: text.value.slice(0, 200) }));
      if (!reply.ok) return;
      suggestions.replaceChildren(...(await reply.json()).map((value) => new Option(value, value)));
    } catch { /* without suggestions, the search still works */ }
  }, 120);
});
for (const button of document.querySelectorAll("button.all")) {
  button.addEventListener("click", () => {
    button.parentElement.classList.add("shows-all");
    button.remove();
  });
}
if (window.matchMedia("(max-width: 50rem)").matches) document.getElementById("facets").open = false;

// Grades

const by = document.getElementById("by");
if (by) {
  by.value = localStorage.getItem("fclip-by") ?? "";
  by.addEventListener("change", () => localStorage.setItem("fclip-by", by.value.trim()));
}
results.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-grade]");
  if (!button) return;
  const name = by?.value.trim();
  if (!name) {
    by?.closest("details").setAttribute("open", "");
    by?.focus();
    return;
  }
  const card = button.closest(".card");
  const pair = button.closest("[data-pair]");
  const query = text.value.trim() || "(image)";
  const reply = await fetch("/grades", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      pair: pair.dataset.pair, side: Number(card.dataset.side), query, dataset: card.dataset.dataset,
      product_id: card.dataset.product, grade: Number(button.dataset.grade), by: name,
    }),
  }).catch(() => null);
  if (!reply?.ok) {
    const message = reply ? (await reply.json()).error.message : "The service cannot be reached.";
    card.querySelector(".grades").title = message;
    card.classList.add("failed");
    return;
  }
  card.classList.remove("failed");
  for (const other of card.querySelectorAll("button[data-grade]")) other.setAttribute("aria-pressed", String(other === button));
  (await reply.json()).roles.forEach((role, side) => {
    const heading = pair.querySelector(`[data-name="${side}"]`);
    if (!heading.dataset.role) heading.textContent += `: ${role}`;
    heading.dataset.role = role;
  });
});
