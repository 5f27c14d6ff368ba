/** Sign in, or make an account. */
import type { JSX, TargetedSubmitEvent } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { useDesk, useTask } from "./use.ts";

const PASSWORD_LENGTH = 8;

/** The sign-in page; `notice` says why somebody was sent here. */
export function Login({ notice }: { notice: string | undefined }): JSX.Element {
  const desk = useDesk();
  const [fresh, setFresh] = useState(false);
  const { busy, problem, run } = useTask();
  const first = useRef<HTMLInputElement>(null);
  // With the fields, not later: who has begun to type by then would go on in another field.
  useLayoutEffect(() => first.current?.focus(), [fresh]);
  const submit = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const field = (name: string) => String(form.get(name) ?? "");
    const credentials = { email: field("email").trim(), password: field("password") };
    run(() => (fresh ? desk.signup({ ...credentials, name: field("name").trim() }) : desk.login(credentials)));
  };
  return (
    <main class="login">
      <h1>Confab</h1>
      <form onSubmit={submit} aria-labelledby="login-title">
        <h2 id="login-title">{fresh ? "Make an account" : "Log in"}</h2>
        <div role="alert">{(problem || notice) && <p class="problem">{problem || notice}</p>}</div>
        {fresh && (
          <label>
            Name
            <input ref={first} name="name" required maxLength={64} autocomplete="name" />
          </label>
        )}
        <label>
          Email
          <input
            ref={fresh ? null : first}
            name="email"
            type="email"
            required
            maxLength={254}
            autocomplete="username"
          />
        </label>
        <label>
          Password
          <input
            name="password"
            type="password"
            required
            minLength={fresh ? PASSWORD_LENGTH : undefined}
            autocomplete={fresh ? "new-password" : "current-password"}
            aria-describedby={fresh ? "password-rule" : undefined}
          />
        </label>
        {fresh && (
          <p id="password-rule" class="hint">
            At least {PASSWORD_LENGTH} characters.
          </p>
        )}
        <button type="submit" class="primary" disabled={busy}>
          {fresh ? "Sign up" : "Log in"}
        </button>
      </form>
      <p>
        {fresh ? "You have an account? " : "You are new here? "}
        <button type="button" class="link" onClick={() => setFresh(!fresh)}>
          {fresh ? "Log in" : "Make an account"}
        </button>
      </p>
    </main>
  );
}
