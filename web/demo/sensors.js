// The simulated devices. Each one has an MQTT connection of its own, publishes its status there, and executes the commands that arrive.

import { newId, socketUrl, stored, token } from '/demo/page.js';
import { Mqtt } from '/demo/mqtt.js';

const STATUS_EVERY = 500;            // milliseconds
const DONE_KEPT = 5;                 // ids of executed commands in a status

/** Each device's settings, what its reading is, and a command to try. A setting without a unit is a switch. */
export const DEVICES = {
  gate: { title: 'Tide gate', reading: { label: 'Flow', unit: 'm³/s' }, example: { open: 0 },
    settings: { open: { label: 'Opening', unit: '%', min: 0, max: 100, step: 5, start: 40 } } },
  pump: { title: 'Pump', reading: { label: 'Pressure', unit: 'bar' }, example: { on: false },
    settings: { on: { label: 'Running', start: true }, speed: { label: 'Speed', unit: 'rpm', min: 300, max: 1500, step: 50, start: 900 } } },
  boiler: { title: 'Boiler', reading: { label: 'Temperature', unit: '°C' }, example: { target: 70 },
    settings: { target: { label: 'Target', unit: '°C', min: 30, max: 80, step: 1, start: 55 } } },
  lamp: { title: 'Harbour lamp', reading: { label: 'Power', unit: 'W' }, example: { on: false },
    settings: { on: { label: 'Lit', start: true }, bright: { label: 'Brightness', unit: '%', min: 5, max: 100, step: 5, start: 80 } } },
};

/** The reading that a device with these settings has after its `last` one. */
const READINGS = {
  gate: ({ open: opening }) => opening * 0.42,
  pump: ({ on, speed }) => (on ? speed / 300 : 0.2),
  boiler: ({ target }, last = 45) => last + (target - last) * 0.06,
  lamp: ({ on, bright }) => (on ? bright * 1.2 : 0),
};

/** Channels, which are the topics of MQTT too. */
export const statusOf = (id) => `demo:live:devices:${id}`;
export const commandsOf = (id) => `demo:devices:${id}`;

/** A connection with a client id that no other one has: MQTT ends the older of two with the same. */
export function connectMqtt(name, options) {
  return new Mqtt({ url: socketUrl('/ws'), clientId: `${name}-${newId()}`.slice(0, 23), token, ...options });
}

// --- What the devices remember when no window plays them

const MEMORY = 'tidegate.devices';

/** Settings by the id of a device: those of the last status that this window knows. */
const memory = (() => {
  try { return { ...JSON.parse(stored('localStorage', MEMORY)) }; } catch { return {}; }
})();

export function remember(id, set) {
  if (JSON.stringify(memory[id]) === JSON.stringify(set)) return;
  memory[id] = set;
  stored('localStorage', MEMORY, JSON.stringify(memory));
}

export class Device {
  #id; #mqtt; #timer; #set; #reading; #count = 0; #done = [];

  /** `changed(isOpen, why)`: called when its connection opens, or is lost. */
  constructor(id, changed) {
    const { settings } = DEVICES[id];
    this.#id = id;
    this.#set = Object.fromEntries(Object.entries(settings).map(([key, { start }]) => [key, start]));
    this.#apply(memory[id]);
    this.#mqtt = connectMqtt(id, { topics: [commandsOf(id)], message: (_, text) => this.#execute(text), state: changed });
    this.#timer = setInterval(() => this.#report(), STATUS_EVERY);
  }

  get isConnected() { return this.#mqtt.isOpen; }

  close() {
    clearInterval(this.#timer);
    this.#mqtt.close();
  }

  /** A command is `{ "set": { … } }`, with an `id` where its sender wants to know when it is done. Others are ignored. */
  #execute(text) {
    let command;
    try { command = JSON.parse(text); } catch { return; }
    this.#apply(command?.set);
    if (typeof command?.id === 'string' && !this.#done.includes(command.id)) this.#done = [...this.#done, command.id].slice(-DONE_KEPT);
    this.#report();
  }

  #apply(set) {
    for (const [key, setting] of Object.entries(DEVICES[this.#id].settings)) {
      const value = set?.[key];
      if (!setting.unit && typeof value === 'boolean') this.#set[key] = value;
      if (setting.unit && Number.isFinite(value)) this.#set[key] = Math.min(setting.max, Math.max(setting.min, value));
    }
  }

  #report() {
    this.#reading = READINGS[this.#id](this.#set, this.#reading);
    this.#count += 1;
    const measured = this.#reading * (1 + (Math.random() - 0.5) * 0.02);
    this.#mqtt.publish(statusOf(this.#id), JSON.stringify({ n: this.#count, reading: Number(measured.toFixed(2)), set: this.#set, done: this.#done }));
  }
}

/** The devices that this window plays, if any. */
export class Devices {
  #all = [];

  get connected() { return this.#all.filter((device) => device.isConnected).length; }

  get arePlayed() { return this.#all.length > 0; }

  play(changed) { this.#all = Object.keys(DEVICES).map((id) => new Device(id, changed)); }

  stop() {
    for (const device of this.#all) device.close();
    this.#all = [];
  }
}
