// The phones of the journey live in the program that started it: each line
// "@@ {…}" on our standard output asks for one act, and one line comes back.
import { createInterface } from 'node:readline';

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function act(what) {
  process.stdout.write(`@@ ${JSON.stringify(what)}\n`);
  const { value, done } = await answers.next();
  if (done) throw new Error('nobody plays the phones: start the journey with "go test -tags phones -run TestJourney ./cmd/pbx"');
  if (value !== 'ok') throw new Error(`phones could not ${JSON.stringify(what)}: ${value}`);
}

export const register = (extension) => act({ do: 'register', extension });
export const unregister = (extension) => act({ do: 'unregister', extension });
export const call = (from, to) => act({ do: 'call', from, to });
export const hangUp = (from) => act({ do: 'hangup', from });
