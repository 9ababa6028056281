// The code blocks of pages of the documentation, so that tests run them as they are written.

import fs from 'node:fs';

/** The texts of the blocks in this language, in their order. `page`: from the repository's root. */
export function blocks(page, language) {
  const text = fs.readFileSync(new URL(`../../../${page}`, import.meta.url), 'utf8');
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(([, code]) => code);
}

/** Runs JavaScript with these names, and returns what `result` is afterwards. */
export function evaluate(code, result, names) {
  return new Function('names', `const { ${Object.keys(names).join(', ')} } = names; ${code}; return ${result};`)(names);
}
