// Programs in Python, with the libraries that tests/setup.sh installs.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const PYTHON = process.env.PYTHON || fileURLToPath(new URL('../../../target/test-tools/venv/bin/python', import.meta.url));

/** What the program prints. */
export const output = async (program, args) => (await promisify(execFile)(program, args)).stdout;
