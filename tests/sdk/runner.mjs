// Runs pieces of JavaScript, as people write them, with the official SDKs in scope. One JSON line in, one out:
// {snippet, given} -> {value} or {error: {name, message, code, type}}.
import { createInterface } from 'node:readline';
import * as server from 'node-appwrite';
import * as web from 'appwrite';

const AsyncFunction = (async () => {}).constructor;
const { endpoint, project, key } = JSON.parse(process.argv[2]);

const client = new server.Client().setEndpoint(endpoint).setProject(project).setKey(key);
const scope = {
    ...server,
    web,
    endpoint,
    project,
    client,
    messaging: new server.Messaging(client),
    storage: new server.Storage(client),
    users: new server.Users(client),
};

console.log = console.warn = console.error; // standard output is the answers'

async function answer({ snippet, given }) {
    const names = { ...scope, ...given };
    try {
        return { value: await new AsyncFunction(...Object.keys(names), snippet)(...Object.values(names)) };
    } catch ({ name, message, code, type }) {
        return { error: { name, message, code, type } };
    }
}

const plain = (_key, value) => (typeof value === 'bigint' ? Number(value) : value);
for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)), plain)}\n`);
}
