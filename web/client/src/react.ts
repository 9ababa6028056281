/** Hooks for React 18 and later. The client comes from a provider, or is given to each hook. */

import { createContext, createElement, useContext, useEffect, useRef, useState, useSyncExternalStore, type ReactNode } from "react";
import type { Client, Member, Publication, State, SubscribeOptions, TidegateError } from "./types.js";

export type * from "./types.js";

const Context = createContext<Client<any> | undefined>(undefined);

/** Gives the client to the hooks below. The application makes and closes it. */
export function TidegateProvider({ client, children }: { client: Client<any>; children?: ReactNode }) {
  return createElement(Context.Provider, { value: client }, children);
}

export function useClient<Channels = Record<string, unknown>>(): Client<Channels> {
  const client = useContext(Context);
  if (!client) throw new Error("there is no TidegateProvider above this component");
  return client;
}

/** The state of the connection. */
export function useConnection(): State {
  const client = useClient();
  return useSyncExternalStore(
    (changed) => client.on("state", changed),
    () => client.state,
    () => "connecting",
  );
}

/** How many publications `useChannel` keeps, unless it is told otherwise. */
const KEEP = 100;

export interface UseChannelOptions<T> extends SubscribeOptions {
  /** How many of the newest publications `publications` has at most; 100 by default. */
  keep?: number;
  onPublication?(publication: Publication<T>): void;
  /** Publications may be missing: load the state again. */
  onGap?(gap: { reason: string }): void;
}

export interface ChannelState<T> {
  /** Oldest first. */
  publications: Publication<T>[];
  subscribed: boolean;
  /** Why the run on the channel has ended. */
  ended?: string;
  error?: TidegateError;
}

/** Subscribes while the component is mounted. null or undefined as the channel subscribes to nothing. */
export function useChannel<T = unknown>(channel: string | null | undefined, options: UseChannelOptions<T> = {}): ChannelState<T> {
  const client = useClient();
  const nothing: ChannelState<T> = { publications: [], subscribed: false };
  const [state, setState] = useState(nothing);
  // The handlers of the newest rendering are called, without subscribing again for each.
  const newest = useRef(options);
  newest.current = options;
  const { last, since, echo } = options;

  useEffect(() => {
    if (channel == null) return;
    setState(nothing);
    const update = (change: Partial<ChannelState<T>>) => setState((before) => ({ ...before, ...change }));
    const subscription = client.subscribe(
      channel,
      (publication: any) => {
        const { keep = KEEP, onPublication } = newest.current;
        setState((before) => ({ ...before, publications: keep ? [...before.publications, publication].slice(-keep) : [] }));
        onPublication?.(publication);
      },
      { last, since, echo },
    );
    subscription.on("subscribed", () => update({ subscribed: true }));
    subscription.on("gap", (gap) => newest.current.onGap?.(gap));
    subscription.on("ended", ({ reason }) => update({ subscribed: false, ended: reason }));
    subscription.on("error", (error) => update({ subscribed: false, error }));
    return () => subscription.unsubscribe();
  }, [client, channel, last, since, echo]);

  return state;
}

export interface PresenceState {
  /** Sorted as the node sorts them; those who join later come at the end. */
  members: Member[];
  /** The channel has more members than are listed. */
  truncated?: boolean;
  error?: TidegateError;
}

/** Who is in the channel. Subscribes to it while the component is mounted, so this client's user is in it too. */
export function usePresence(channel: string | null | undefined): PresenceState {
  const client = useClient();
  const [state, setState] = useState<PresenceState>({ members: [] });

  useEffect(() => {
    setState({ members: [] });
    if (channel == null) return;
    let over = false;
    /** What happens while the list is read is applied to it again. */
    let changes: ((members: Member[]) => Member[])[] = [];
    const change = (apply: (members: Member[]) => Member[]) => {
      changes.push(apply);
      setState((before) => ({ ...before, members: apply(before.members) }));
    };
    const fail = (error: TidegateError) => !over && setState((before) => ({ ...before, error }));
    function load() {
      changes = [];
      client.presence(channel!).then(({ members, truncated }) => {
        if (!over) setState({ members: changes.reduce((list, apply) => apply(list), members), truncated });
        changes = [];
      }, fail);
    }
    const subscription = client.subscribe(channel, () => {});
    subscription.on("subscribed", load);
    subscription.on("gap", load);
    subscription.on("error", fail);
    subscription.on("join", ({ user, info }) =>
      change((members) => (members.some((each) => each.user === user) ? members : [...members, { user, sessions: 1, ...(info && { info }) }])),
    );
    subscription.on("leave", ({ user }) => change((members) => members.filter((each) => each.user !== user)));
    return () => {
      over = true;
      subscription.unsubscribe();
    };
  }, [client, channel]);

  return state;
}
