// What whoever serves this page has put beside it: ?site=URL names a JSON file with
//   { "own": { "name", "picture" }, "packs": [{ "name", "file", "picture" }], "detector": "folder/",
//     "pictures": [{ "name", "file", "landmarks": [[x, y], ...] }] }
// All of it is optional, files are relative to the JSON, and all must lie on this host.

export async function site() {
  const given = new URL(location.href).searchParams.get("site");
  if (given === null) return { packs: [], pictures: [] };
  const home = new URL(given, location.href);
  if (home.origin !== location.origin) throw new Error(`${home} lies on another host, of which this page takes nothing`);
  const answer = await fetch(home);
  if (!answer.ok) throw new Error(`${home} cannot be fetched (${answer.status}): the page has no packs`);
  const told = await answer.json();
  const placed = (entry) => ({ ...entry, ...(entry?.file && { file: new URL(entry.file, home) }), ...(entry?.picture && { picture: new URL(entry.picture, home) }) });
  return {
    own: told.own && placed(told.own),
    packs: (told.packs ?? []).map(placed),
    pictures: (told.pictures ?? []).map(placed),
    detector: told.detector && new URL(told.detector, home),
  };
}

/** A file of this host. */
export async function fetched(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} cannot be fetched (${answer.status})`);
  return answer;
}
