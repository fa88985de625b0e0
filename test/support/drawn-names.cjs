// Preloaded into a process whose names are to be known beforehand: its UUIDs are counted, after a beginning of ours.
const crypto = require('node:crypto');
const { syncBuiltinESMExports } = require('node:module');

let drawn = 0;
crypto.randomUUID = () => {
  drawn += 1;
  return process.env.ADIT_TEST_NAMES + String(drawn).padStart(10, '0');
};
syncBuiltinESMExports();
