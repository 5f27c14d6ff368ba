-- The directory (actors/directory.ts). Times are ms since 1970, as the clients of the tables speak of them.
-- Texts that are compared by bytes have the collation "C", whatever the locale of the database.

CREATE TABLE users (
  id            text COLLATE "C" PRIMARY KEY,
  -- Null once deleted, so that it is free again.
  email         text COLLATE "C" UNIQUE,
  name          text NOT NULL,
  -- The name as it is searched: NFC, lower case.
  folded_name   text COLLATE "C" NOT NULL,
  created_at    bigint NOT NULL,
  deleted_at    bigint,
  -- Empty once deleted.
  password_hash text NOT NULL,
  -- No token may be issued before it: the time of the last revocation of all tokens.
  valid_from    bigint NOT NULL DEFAULT 0,
  CHECK ((deleted_at IS NULL) = (email IS NOT NULL))
);

CREATE INDEX users_by_name ON users (folded_name, id) WHERE deleted_at IS NULL;

-- Changed only under the row lock of their user, but for those that are over, which anybody may remove.
CREATE TABLE sessions (
  id         text COLLATE "C" PRIMARY KEY,
  user_id    text COLLATE "C" NOT NULL REFERENCES users,
  handle     text COLLATE "C" NOT NULL UNIQUE,
  current    text COLLATE "C" NOT NULL,
  opened_at  bigint NOT NULL,
  expires_at bigint NOT NULL,
  issued_at  bigint NOT NULL
);

CREATE INDEX sessions_by_user ON sessions (user_id, opened_at, id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- Users of other issuers have revocations too: no reference.
CREATE TABLE revocations (
  id         bigint PRIMARY KEY,
  user_id    text COLLATE "C" NOT NULL,
  token      text COLLATE "C",
  before_ms  bigint NOT NULL,
  keep_until bigint NOT NULL
);

CREATE INDEX revocations_by_end ON revocations (keep_until);

-- The last id given. A sequence would do without the lock on its row, but the lock is what makes ids
-- visible in their order: a higher one is only given once the lower ones are committed.
CREATE TABLE revocation_counter (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  last   bigint NOT NULL
);

INSERT INTO revocation_counter (last) VALUES (0);

CREATE TABLE logins (
  number  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at      bigint NOT NULL,
  success boolean NOT NULL,
  account text COLLATE "C" NOT NULL,
  address text NOT NULL,
  agent   text NOT NULL
);

CREATE INDEX logins_by_account ON logins (account, number);
CREATE INDEX logins_by_time ON logins (at);
