// Our configuration, and the only one that is read: the repository's would be code of the repository that runs in here.
import tsParser from "@typescript-eslint/parser";
import security from "eslint-plugin-security";

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
    ...security.configs.recommended,
    files: ["**/*.{js,cjs,mjs,jsx,ts,cts,mts,tsx}"],
    languageOptions: {
      parser: tsParser,
      parserOptions: { ecmaFeatures: { jsx: true } },
    },
    linterOptions: { reportUnusedDisableDirectives: "off" },
  },
];
