// Saved pictures say that they are synthetic: in the picture, and in their metadata.

export const NOTICE = "Synthetic: a face in this picture was made by a computer";
const SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia";
const XMP = `<?xpacket begin="\uFEFF" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 Iptc4xmpExt:DigitalSourceType="${SOURCE}"><dc:description><rdf:Alt><rdf:li xml:lang="x-default">${NOTICE}</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>`;
const SIGNATURE = 8;
const HEADER = 25; // bytes of IHDR with its length, name and checksum

/** `canvas` as a PNG with the notice along its lower edge, below the picture, so that it covers nothing. */
export async function saved(canvas) {
  const size = Math.max(14, Math.round(canvas.width / 40));
  const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height + 2 * size });
  const context = copy.getContext("2d");
  context.fillStyle = "#16181c";
  context.fillRect(0, 0, copy.width, copy.height);
  context.drawImage(canvas, 0, 0);
  context.fillStyle = "#ffffff";
  context.font = `${size}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  context.fillText(NOTICE, size, canvas.height + size, copy.width - 2 * size);
  const png = await new Promise((resolve) => copy.toBlob(resolve, "image/png"));
  return labelled(new Uint8Array(await png.arrayBuffer()));
}

/** The PNG with its metadata behind the header. */
export function labelled(png) {
  const at = SIGNATURE + HEADER;
  const text = new TextEncoder().encode(`XML:com.adobe.xmp\0\0\0\0\0${XMP}`);
  return new Blob([png.subarray(0, at), chunk("iTXt", text), png.subarray(at)], { type: "image/png" });
}

function chunk(name, data) {
  const made = new Uint8Array(12 + data.length);
  const view = new DataView(made.buffer);
  view.setUint32(0, data.length);
  made.set(new TextEncoder().encode(name), 4);
  made.set(data, 8);
  view.setUint32(8 + data.length, checksum(made.subarray(4, 8 + data.length)));
  return made;
}

function checksum(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  }
  return (sum ^ 0xffffffff) >>> 0;
}
