// Run bundles one after the other: node run.mjs URI FILE ...; prints what each has received.
import { pathToFileURL } from "node:url";

const [, , uri, ...files] = process.argv;
const results = {};
for (const file of files) {
  await import(pathToFileURL(file));
  results[file] = await globalThis.run(uri);
  delete globalThis.run;
  delete globalThis.WSRedis;
}
console.log(JSON.stringify(results));
process.exit();
