// Bundle hook.jsx: node hook.mjs FILE.
import { build } from "esbuild";

await build({
  entryPoints: ["hook.jsx"],
  bundle: true,
  format: "esm",
  jsx: "automatic",
  define: { "process.env.NODE_ENV": '"development"' },
  outfile: process.argv[2],
});
