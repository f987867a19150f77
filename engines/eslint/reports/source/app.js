const { exec } = require("child_process");

module.exports = (request, table) => {
  exec(`ping ${request.query.host}`);
  return table[request.query.key];
};
