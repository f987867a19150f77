// Two parsers, each loaded when a file needs it: TypeScript's alone takes longer to load than most repositories take to lint.
import { createRequire } from "node:module";

const load = createRequire(import.meta.url);

export const typescriptParser = {
  meta: { name: "typescript", version: "1" },
  parseForESLint: (code, options) => load("@typescript-eslint/parser").parseForESLint(code, options),
};

// JavaScript by ESLint's own parser, which is quick and strict. What it refuses (types in a `.js` file, scripts that are no
// modules) goes to TypeScript's, which reads nearly everything: a file that is not parsed is a file that is not assessed.
export const quickParser = {
  meta: { name: "quick", version: "1" },
  parseForESLint(code, options) {
    try {
      return { ast: load("espree").parse(code, options) };
    } catch {
      return typescriptParser.parseForESLint(code, options);
    }
  },
};
