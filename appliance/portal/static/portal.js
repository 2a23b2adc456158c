"use strict";
// Two things that need a script: the test whether the CA is installed, and a button to copy a line. All else works without.

const WORDS = {
  yes: "Yes. This browser trusts the certificate.",
  no: "No. This browser does not trust the certificate yet. Install it as described below, restart the browser, and reload this page.",
  unknown: "No answer. The test address could not be reached: is this browser set to use the proxy?",
};
const PATIENCE = 10000;

function tell(place, verdict) {
  if (place.dataset.verdict) return;
  place.dataset.verdict = verdict;
  place.classList.add(verdict);
  place.textContent = WORDS[verdict];
}

// The image is only shown by a browser that accepts the certificate it comes with.
function test(place) {
  place.hidden = false;
  const image = new Image();
  image.onload = () => tell(place, "yes");
  image.onerror = () => tell(place, "no");
  window.setTimeout(() => tell(place, "unknown"), PATIENCE);
  image.src = `${place.dataset.probe}?${Date.now()}`;
}

// navigator.clipboard exists over HTTPS only, and this page mostly comes over HTTP.
async function copy(code) {
  if (navigator.clipboard) return navigator.clipboard.writeText(code.textContent);
  const range = document.createRange();
  range.selectNodeContents(code);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  if (!document.execCommand("copy")) throw new Error("not allowed");
  selection.removeAllRanges();
}

function addCopyButton(line) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await copy(line.querySelector("code"));
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it";
    }
    window.setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  line.append(button);
}

document.querySelectorAll("[data-probe]").forEach(test);
document.querySelectorAll(".line").forEach(addCopyButton);
