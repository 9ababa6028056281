// Pieces of random text, as a model's tokens are, with characters of one to four bytes.

/** Lone characters that parsers, encoders and joiners have trouble with. `\r` is left out: Server-Sent Events have only `\n`. */
const ODD = ['\n', '\n\n', '\t', ' ', '\u2028', '\u00a0', '\ufeff', '\u0301', '\u200d', '\u0000', '"', '\\', '</script>', 'data: ', ':', 'é', '½', 'ß', 'Ω', '潮', '汐', '한', '🌊', '👩‍👩‍👧', '𝄞'];

/** Texts that are valid JSON. */
const JSON_TEXTS = ['12', ' 12', '1.0', 'null', 'true ', '"x"', '[1, 2]', '{"a":1}', '{"type":7}', '-0'];

const isJson = (text) => { try { JSON.parse(text); return true; } catch { return false; } };

/** Pieces of text from `random`. `longest`: characters; `json`: some are valid JSON, else none is. */
export class TextSource {
  constructor(random, { longest, json }) { Object.assign(this, { random, longest, json }); }

  next() {
    const { random } = this;
    if (this.json && random.chance(0.2)) return random.pick(JSON_TEXTS);
    const length = random.chance(0.6) ? random.between(1, 8) : random.between(1, this.longest);
    let text = '';
    while (text.length < length) text += random.chance(0.2) ? random.pick(ODD) : String.fromCharCode(random.between(97, 122));
    return !this.json && isJson(text) ? `${text}~` : text;
  }
}

/** Splits a text within a character of several bytes, if it has one: two buffers, neither of them UTF-8. Otherwise one. */
export function split(text) {
  const bytes = Buffer.from(text);
  const at = bytes.findIndex((byte) => byte >= 0xc0);
  return at < 0 ? [bytes] : [bytes.subarray(0, at + 1), bytes.subarray(at + 1)];
}
