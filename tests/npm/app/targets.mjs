// Print the files whose syntax is too new for the browsers: node targets.mjs TARGET FILE ...
import { readFile } from "node:fs/promises";

import { transform } from "esbuild";

const [, , browsers, ...files] = process.argv;
const target = browsers.split(",");
const tooNew = [];
for (const file of files) {
  const source = await readFile(file, "utf8");
  const [asItIs, lowered] = await Promise.all([
    transform(source, { target: "esnext" }),
    transform(source, { target }),
  ]);
  if (asItIs.code !== lowered.code) {
    tooNew.push(file);
  }
}
console.log(JSON.stringify(tooNew));
