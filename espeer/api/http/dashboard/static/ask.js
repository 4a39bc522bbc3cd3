// The box to ask: the answer as it comes, the experiences that it rests on, and what became of it.

import { $, h, plural } from "./dom.js";
import { call, frames, json } from "./api.js";
import { record } from "./experiences.js";

const ENDINGS = {
  stop: "",
  length: "It was cut off at the most tokens.",
  loop: "It was ended because it repeated itself.",
  time: "Its time was over.",
};

let stop = null;
let given = null;

export function setTypes(types) {
  const chosen = $("ask-type").value;
  $("ask-type").replaceChildren(h("option", { value: "" }, "any"), ...types.map((type) => h("option", { value: type }, type)));
  $("ask-type").value = types.includes(chosen) ? chosen : "";
}

function busy(under) {
  $("ask-go").disabled = under;
  $("ask-stop").hidden = !under;
  $("answer").setAttribute("aria-busy", String(under));
}

const READING = "The model reads…";
const WRITING = "The model writes…";

async function ask(question, type) {
  stop = new AbortController();
  given = null;
  busy(true);
  $("ask-empty").hidden = true;
  $("answer").hidden = false;
  $("feedback").hidden = true;
  $("answer-question").textContent = question;
  $("answer-text").textContent = "";
  $("answer-used").replaceChildren();
  $("answer-state").textContent = READING;
  try {
    const body = { question, stream: true, ...(type ? { type } : {}) };
    const response = await call("/api/ask", { body, signal: stop.signal });
    if ((response.headers.get("content-type") ?? "").startsWith("text/event-stream")) {
      for await (const { event, data } of frames(response)) {
        if (event === "piece") {
          $("answer-text").append(data);
          if ($("answer-state").textContent === READING) $("answer-state").textContent = WRITING;
        } else if (event === "answer") finished(data);
        else if (event === "error") failed(data.error?.message ?? "The node failed at this.");
      }
    }
    if (!given && [READING, WRITING].includes($("answer-state").textContent)) failed("The answer was cut off.");
  } catch (error) {
    failed(error.name === "AbortError" ? "Stopped." : error.status ? error.message : "The node cannot be reached.");
  } finally {
    busy(false);
  }
}

const failed = (message) => { $("answer-state").textContent = message; };

function finished(answer) {
  given = answer;
  $("answer-text").textContent = answer.answer;
  const used = answer.experiences;
  $("answer-state").textContent = [
    `First token after ${Math.round(answer.ttft_ms)} ms.`,
    answer.confidence === null ? "" : `The model gives itself ${Math.round(100 * answer.confidence)} %.`,
    ENDINGS[answer.finish] ?? "",
    answer.unreached.length ? `Nobody answered for ${answer.unreached.join(", ")}.` : "",
  ].filter(Boolean).join(" ");
  $("answer-used").replaceChildren(
    h("h3", {}, used.length ? `It rests on ${plural(used.length, "experience")}` : "It rests on no experience"),
    h("ol", { class: "records" }, ...used.map((hit) => record(hit, [
      h("span", {}, `${Math.round(100 * hit.coverage)} % of the question's words`),
      hit.peer ? h("span", {}, "told by a peer") : null,
    ]))));
  $("feedback-state").textContent = "";
  $("feedback").hidden = answer.id === null;
}

async function rate(good, text) {
  if (!given) return;
  const body = { answer: given.id, ...(good === null ? {} : { good }), ...(text ? { text } : {}) };
  try {
    const learnt = await json("/api/feedback", { body });
    $("feedback-text").value = "";
    $("feedback-state").textContent = text
      ? learnt.experience ? "Learnt." : "Noted; it becomes an experience when its episode is over."
      : "Noted.";
  } catch (error) {
    $("feedback-state").textContent = error.status ? error.message : "The node cannot be reached.";
  }
}

export function listen() {
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const question = $("question").value.trim();
    if (question && !$("ask-go").disabled) ask(question, $("ask-type").value);
  });
  $("question").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      $("ask").requestSubmit();
    }
  });
  $("ask-stop").addEventListener("click", () => {
    stop?.abort();
    $("question").focus(); // the button goes away
  });
  $("feedback-good").addEventListener("click", () => rate(true, ""));
  $("feedback-bad").addEventListener("click", () => rate(false, ""));
  $("feedback").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("feedback-text").value.trim();
    if (text) rate(null, text);
    else $("feedback-text").focus();
  });
}
