"use strict";

const MODEL = "v2/models/retinaface";
const COLOURS = ["#ff3b30", "#34c759", "#0a84ff", "#ffcc00", "#bf5af2"]; // of landmarks in turn
const byId = (id) => document.getElementById(id);
const shown = []; // what is on the page: {image, faces, classes, triangles, canvas, item}
let leastThreshold = 0.5; // that of the engine: faces below it are not known
let stream = null;

function headers() {
  const token = byId("token").value;
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function say(text, isError = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("error", isError);
}

async function describe() {
  const response = await fetch(MODEL, { headers: headers() });
  byId("token-row").hidden = response.status !== 401 && !byId("token").value;
  if (!response.ok) {
    byId("model").textContent = response.status === 401 ? "This service wants a token." : "The service does not answer.";
    return;
  }
  const parameters = (await response.json()).parameters;
  byId("model").textContent = parameters.description;
  leastThreshold = parameters.least_score_threshold;
  byId("threshold").min = leastThreshold;
}

// Returns {faces, classes, triangles, timing} of a picture file.
async function detect(blob) {
  const begin = performance.now();
  const response = await fetch(`detect?meshes=true&score_threshold=${leastThreshold}`, {
    method: "POST",
    body: blob,
    headers: { ...headers(), "Content-Type": blob.type || "application/octet-stream" },
  });
  const answer = await response.json();
  if (!response.ok) {
    byId("token-row").hidden = response.status !== 401 && !byId("token").value;
    throw new Error(answer.error);
  }
  const stages = response.headers.get("Server-Timing") || "";
  const named = [...stages.matchAll(/([\w-]+);dur=([\d.]+)/g)].map(([, name, ms]) => `${name} ${ms} ms`);
  const batch = stages.match(/batch;desc="(\d+)"/);
  const whole = `${Math.round(performance.now() - begin)} ms in all`;
  const timing = [whole, ...named, ...(batch ? [`batch of ${batch[1]}`] : [])].join(" · ");
  return { faces: answer.faces, classes: answer.classes, triangles: answer.triangles || [], timing };
}

// Draws the triangles that face the camera: they are counter-clockwise seen from outside, and y points down here.
function drawMesh(context, vertices, triangles, width) {
  context.strokeStyle = "#8cdceb";
  context.lineWidth = width;
  context.beginPath();
  for (const triangle of triangles) {
    const [[ax, ay], [bx, by], [cx, cy]] = triangle.map((vertex) => vertices[vertex]);
    if ((bx - ax) * (cy - ay) >= (by - ay) * (cx - ax)) continue;
    context.moveTo(ax, ay);
    context.lineTo(bx, by);
    context.lineTo(cx, cy);
    context.closePath();
  }
  context.stroke();
}

function draw(entry) {
  const { image, canvas, faces, item } = entry;
  canvas.width = image.width;
  canvas.height = image.height;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const threshold = Number(byId("threshold").value);
  const kept = faces.filter((face) => face.score > threshold);
  const line = Math.max(2, Math.round(Math.max(canvas.width, canvas.height) / 400));
  context.font = `${7 * line}px system-ui, sans-serif`;
  for (const face of kept) if (face.vertices) drawMesh(context, face.vertices, entry.triangles, line / 2);
  context.lineWidth = line;
  for (const face of kept) {
    const { box: [left, top, right, bottom], score, landmarks } = face;
    const known = (entry.classes || []).indexOf(face.class);
    context.strokeStyle = context.fillStyle = known > 0 ? COLOURS[(known - 1) % COLOURS.length] : "#00e676";
    context.strokeRect(left, top, right - left, bottom - top);
    const label = face.class === undefined ? "" : `${face.class} `;
    context.fillText(label + score.toFixed(2), left, Math.max(top - line, 7 * line));
    (landmarks || []).forEach(([x, y], point) => {
      context.fillStyle = COLOURS[point % COLOURS.length];
      context.beginPath();
      context.arc(x, y, landmarks.length > 10 ? 0.6 * line : 1.2 * line, 0, 2 * Math.PI);
      context.fill();
    });
  }
  const count = kept.length === 1 ? "1 face" : `${kept.length} faces`;
  item.querySelector(".count").textContent = count;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${item.querySelector("strong").textContent}: ${count}`);
}

function addResult(name) {
  const item = byId("result").content.firstElementChild.cloneNode(true);
  item.querySelector("strong").textContent = name;
  byId("results").prepend(item);
  return { item, canvas: item.querySelector("canvas"), faces: [], image: null };
}

async function show(file) {
  // The server turns a picture as its EXIF orientation says, and so does the browser.
  const { faces, classes, triangles, timing } = await detect(file);
  const entry = addResult(file.name);
  try {
    entry.image = await createImageBitmap(file);
  } catch {
    entry.item.remove();
    throw new Error(`${faces.length} faces, but this browser cannot show such a picture`);
  }
  entry.faces = faces;
  Object.assign(entry, { classes, triangles });
  entry.item.querySelector(".timing").textContent = timing;
  shown.push(entry);
  draw(entry);
}

async function showAll(files) {
  let failed = 0;
  for (const [index, file] of files.entries()) {
    say(`Picture ${index + 1} of ${files.length} …`);
    try {
      await show(file);
    } catch (error) {
      failed += 1;
      say(`${file.name}: ${error.message}`, true);
    }
  }
  if (!failed) say(files.length === 1 ? "Done." : `${files.length} pictures done.`);
}

async function watchCamera() {
  const video = byId("video");
  const entry = addResult("Camera");
  shown.push(entry);
  const frame = document.createElement("canvas");
  try {
    while (stream) {
      frame.width = video.videoWidth;
      frame.height = video.videoHeight;
      frame.getContext("2d").drawImage(video, 0, 0);
      const blob = await new Promise((resolve) => frame.toBlob(resolve, "image/jpeg", 0.9));
      const { faces, classes, triangles, timing } = await detect(blob);
      entry.image = await createImageBitmap(blob);
      entry.faces = faces;
      Object.assign(entry, { classes, triangles });
      entry.item.querySelector(".timing").textContent = timing;
      draw(entry);
    }
  } catch (error) {
    say(error.message, true);
  }
  stopCamera();
}

function stopCamera() {
  if (stream) for (const track of stream.getTracks()) track.stop();
  stream = null;
  byId("camera").setAttribute("aria-pressed", "false");
  byId("camera").textContent = "Use the camera";
}

async function toggleCamera() {
  if (stream) {
    stopCamera();
    say("The camera is off.");
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: true });
  } catch (error) {
    say(`No camera: ${error.message}`, true);
    return;
  }
  const video = byId("video");
  video.srcObject = stream;
  await video.play();
  byId("camera").setAttribute("aria-pressed", "true");
  byId("camera").textContent = "Stop the camera";
  say("The camera is on.");
  watchCamera();
}

const drop = byId("drop");
drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  showAll([...event.dataTransfer.files]);
});
byId("files").addEventListener("change", (event) => {
  const files = [...event.target.files];
  event.target.value = "";
  showAll(files);
});
byId("camera").addEventListener("click", toggleCamera);
byId("threshold").addEventListener("input", (event) => {
  byId("threshold-value").textContent = Number(event.target.value).toFixed(2);
  for (const entry of shown) if (entry.image) draw(entry);
});
byId("token").addEventListener("change", describe);
describe().catch(() => say("The service does not answer.", true));
