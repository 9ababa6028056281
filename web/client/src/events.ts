/** Listeners by the name of their event. */
export interface Events {
  on(name: string, listener: (...values: any[]) => void): () => void;
  /** Returns whether there was a listener. */
  emit(name: string, ...values: unknown[]): boolean;
}

export function createEvents(): Events {
  const listeners = new Map<string, Set<(...values: unknown[]) => void>>();
  return {
    on(name, listener) {
      // A wrapper of its own, so that one function may listen twice and be removed once.
      const own = (...values: unknown[]) => listener(...values);
      const set = listeners.get(name) ?? new Set();
      listeners.set(name, set.add(own));
      return () => void set.delete(own);
    },
    emit(name, ...values) {
      const set = listeners.get(name);
      set?.forEach((listener) => {
        try {
          listener(...values);
        } catch (error) {
          // A fault of the application is reported like any other of its faults, and the client goes on.
          setTimeout(() => {
            throw error;
          });
        }
      });
      return !!set?.size;
    },
  };
}
