// What k6 has and @types/k6 leaves to the DOM's types, which promise much that k6 lacks.

declare const console: { error(message: string): void };
