// Buttons that name what they do: the policy of the pages allows no onclick.
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-call]");
  if (button) {
    window[button.dataset.call]();
  }
});
