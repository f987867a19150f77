// Our configuration, and the only one that is read: the repository's would be code of the repository that runs in here.
import security from "eslint-plugin-security";
import { quickParser, typescriptParser } from "./parsers.mjs";

const rules = {
  ...security.configs.recommended,
  linterOptions: { reportUnusedDisableDirectives: "off" },
};
// Nothing asks for documentation comments or for the types of the standard library.
const parserOptions = { ecmaFeatures: { jsx: true }, jsDocParsingMode: "none", lib: [] };

export default [
  {
    ignores: [
      "**/bower_components/**",
      "**/vendor/**",
      "**/*.min.{js,cjs,mjs}",
      "**/*-min.js",
      "**/*.bundle.js",
    ],
  },
  {
    ...rules,
    files: ["**/*.{js,cjs,mjs,jsx}"],
    languageOptions: { parser: quickParser, parserOptions },
  },
  {
    ...rules,
    files: ["**/*.{ts,cts,mts,tsx}"],
    languageOptions: { parser: typescriptParser, parserOptions },
  },
];
