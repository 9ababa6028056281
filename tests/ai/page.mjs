// A page with `useChat`, in React on a document without a browser.

import { Window } from 'happy-dom';
import { until } from '../browser/lib/wait.mjs';

const window = new Window();
for (const [name, value] of Object.entries({ window, document: window.document, navigator: window.navigator })) {
  Object.defineProperty(globalThis, name, { value, configurable: true });
}
const { createElement } = await import('react');
const { createRoot } = await import('react-dom/client');
export const { useChat } = await import('@ai-sdk/react');

export class Page {
  /** What `useChat` returned last. */
  chat = null;

  /** Whether a request of the transport was answered. */
  settled = false;

  /** `options` are those of `useChat`. */
  static async open(options) {
    const page = new Page();
    const { transport } = options;
    const watched = {
      resumeStreamIsReplay: transport.resumeStreamIsReplay,
      sendMessages: (it) => transport.sendMessages(it),
      reconnectToStream: (it) => transport.reconnectToStream(it).finally(() => { page.settled = true; }),
    };
    await page.#render(() => useChat({ ...options, transport: watched }));
    return page;
  }

  /** A page whose chat is what the hook returns. */
  static async of(hook) {
    const page = new Page();
    await page.#render(hook);
    return page;
  }

  async #render(hook) {
    const Chat = () => {
      this.chat = hook();
      return createElement('p', null, this.text);
    };
    this.root = createRoot(document.createElement('div'));
    this.root.render(createElement(Chat));
    await until('the page is rendered', () => this.chat);
  }

  /** The text of the last message. */
  get text() { return this.chat.messages.at(-1)?.parts.map((part) => part.text ?? '').join('') ?? ''; }

  until(what, condition) {
    const found = async () => ({ status: this.chat.status, error: this.chat.error?.message, messages: this.chat.messages });
    return until(what, () => condition(this.chat), { found });
  }

  async close() { this.root.unmount(); }
}
