// What all parts use, and how numbers are written.

const find = (selector, root = document) => root.querySelector(selector);

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

const signed = (value) => {
  const text = Math.abs(value).toFixed(2);
  return text === "0.00" ? "0" : (value < 0 ? "−" : "+") + text;
};

const decimals = (value, digits) => value.toFixed(digits).replace("-", "−");

const within = (value, low, high) => Math.min(Math.max(value, low), high);

const ranked = (scores) => scores.map((_, label) => label).sort((a, b) => scores[b] - scores[a]);

const count = (number, word, many = `${word}s`) => `${number.toLocaleString("en")} ${number === 1 ? word : many}`;

const say = (text, wrong = false) => {
  find("#status").textContent = text;
  find("#status").classList.toggle("wrong", wrong);
};

const complain = (error) => say(error.message, true);

// Read to those who do not see the page, once the drawing has come to rest.
const announce = (() => {
  const texts = new Map();
  let timer = 0;
  return (from, text) => {
    texts.set(from, text);
    clearTimeout(timer);
    timer = setTimeout(() => (find("#announcer").textContent = [...texts.values()].join(" ")), 900);
  };
})();
