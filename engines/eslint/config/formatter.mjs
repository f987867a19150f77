// The SARIF of Microsoft's formatter, about our rules alone. A comment in a file may name rules that are not ours: ESLint complains
// that it does not know them, or runs those of its own that it knows. Neither is a finding about security.
import security from "eslint-plugin-security";
import sarif from "@microsoft/eslint-formatter-sarif";

const ours = new Set(Object.keys(security.rules).map((name) => `security/${name}`));
// A message without a rule says that a file could not be read.
const isOurs = ({ ruleId }) => !ruleId || ours.has(ruleId);

export default (results, context) =>
  sarif(
    results.map((result) => ({
      ...result,
      messages: result.messages.filter(isOurs),
      suppressedMessages: result.suppressedMessages.filter(isOurs),
    })),
    context,
  );
