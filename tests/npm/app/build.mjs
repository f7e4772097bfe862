// Bundle the pages of this folder: node build.mjs TOOL FOLDER; with and without tree shaking.
import { join, resolve } from "node:path";

const [, , tool, folder] = process.argv;
const ENTRIES = {
  used: "used.mjs",
  required: "required.cjs",
  script: "script.mjs",
  unused: "unused.mjs",
};

const TOOLS = {
  async esbuild(entries, out, treeShaking) {
    const { build } = await import("esbuild");
    await build({ entryPoints: entries, bundle: true, format: "esm", outdir: out, treeShaking });
  },
  async rollup({ required, ...entries }, out, treeshake) {
    // Rollup itself reads no CommonJS.
    const { rollup } = await import("rollup");
    const { nodeResolve } = await import("@rollup/plugin-node-resolve");
    for (const [name, input] of Object.entries(entries)) {
      const bundle = await rollup({ input, treeshake, plugins: [nodeResolve()] });
      await bundle.write({ file: join(out, `${name}.js`), format: "es" });
      await bundle.close();
    }
  },
  async vite(entries, out, treeshake) {
    const { build } = await import("vite");
    for (const [name, input] of Object.entries(entries)) {
      const rollupOptions = { input, treeshake, output: { entryFileNames: `${name}.js` } };
      await build({
        configFile: false,
        logLevel: "warn",
        build: { outDir: out, emptyOutDir: false, minify: false, rollupOptions },
      });
    }
  },
  async webpack(entry, out, shakes) {
    const { default: webpack } = await import("webpack");
    const paths = Object.entries(entry).map(([name, file]) => [name, resolve(file)]);
    const stats = await new Promise((done, fail) =>
      webpack(
        {
          mode: shakes ? "production" : "none",
          entry: Object.fromEntries(paths),
          output: { path: out, publicPath: "" },
          optimization: shakes
            ? { minimize: false }
            : { sideEffects: false, usedExports: false, providedExports: false },
        },
        (error, result) => (error ? fail(error) : done(result)),
      ),
    );
    if (stats.hasErrors() || stats.hasWarnings()) {
      throw new Error(stats.toString("errors-warnings"));
    }
  },
};

for (const shakes of [true, false]) {
  await TOOLS[tool](ENTRIES, join(folder, shakes ? "shaken" : "whole"), shakes);
}
