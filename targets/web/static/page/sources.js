// Where pictures come from: a photo, a video file, the camera. Each gives { kind, width, height, whole, live, draw, close };
// where it was made smaller, "whole" has the sides that it had.

const LARGEST = 4096; // pixels of a photo's longer side; what is larger is made smaller
const LARGEST_LIVE = 1280;

/** What a file holds. */
export async function fromFile(file) {
  if (file.type.startsWith("video/")) return video(URL.createObjectURL(file), file.name);
  try {
    return photo(await createImageBitmap(file)); // upright, as its EXIF data say
  } catch {
    throw new Error(`${file.name} is no picture that this browser reads; give a JPEG, PNG or WebP, or a video`);
  }
}

export function photo(bitmap) {
  const { width, height, whole } = fitted(bitmap.width, bitmap.height, LARGEST);
  return {
    kind: "photo",
    live: false,
    width,
    height,
    whole,
    draw: (context) => context.drawImage(bitmap, 0, 0, width, height),
    close: () => bitmap.close(),
  };
}

export async function camera() {
  if (!navigator.mediaDevices) throw new Error("the camera needs a secure context: serve this page by https, or on localhost");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 } }, audio: false });
  } catch (error) {
    throw new Error(`the camera cannot be used (${error.message}); allow it in the browser's settings, or open a photo`);
  }
  const element = screen();
  element.srcObject = stream;
  const source = await playing(element, "camera");
  const close = () => stream.getTracks().forEach((track) => track.stop());
  return { ...source, close };
}

async function video(url, name) {
  const element = screen();
  element.loop = true;
  element.src = url;
  try {
    return { ...(await playing(element, "video")), close: () => (element.pause(), URL.revokeObjectURL(url)) };
  } catch {
    element.removeAttribute("src");
    URL.revokeObjectURL(url);
    throw new Error(`${name} is no video that this browser plays; give a WebM or an MP4 (H.264)`);
  }
}

/** The sides of a picture of which none is longer than `largest`, nor less than a pixel. */
function fitted(width, height, largest) {
  const scale = Math.min(1, largest / Math.max(width, height));
  const side = (pixels) => Math.max(1, Math.round(pixels * scale));
  return { width: side(width), height: side(height), whole: scale < 1 ? { width, height } : null };
}

function screen() {
  const element = document.createElement("video");
  element.muted = true;
  element.playsInline = true;
  return element;
}

async function playing(element, kind) {
  await element.play();
  if (!element.videoWidth) throw new Error("it holds sound only");
  const { width, height, whole } = fitted(element.videoWidth, element.videoHeight, LARGEST_LIVE);
  return {
    kind,
    live: true,
    width,
    height,
    whole,
    element,
    draw: (context) => context.drawImage(element, 0, 0, width, height),
    next: (call) => element.requestVideoFrameCallback?.(call) ?? requestAnimationFrame(call),
  };
}
