-- The tables and functions of a log whose name is tower_sse. The script can be run again.

-- One row. Who appends or deletes events locks it, so events become visible in the order of their
-- sequences: one that is visible is after all that are.
CREATE TABLE IF NOT EXISTS tower_sse_log (
  version integer PRIMARY KEY CHECK (version = 1),
  -- The first number of each id. It changes when events that were read are lost.
  epoch bigint NOT NULL,
  -- The table itself: in a copy that was restored from a dump it is another one.
  home oid NOT NULL,
  -- Each event that was deleted is not after this one.
  trimmed bigint NOT NULL DEFAULT 0,
  -- Each event of a topic that is not in tower_sse_topics any more is not after this one.
  expired bigint NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS tower_sse_events (
  -- Microseconds of the clock, or one more than the event before.
  sequence bigint PRIMARY KEY,
  topic text COLLATE "C" NOT NULL,
  -- The sequence before in the topic.
  predecessor bigint NOT NULL,
  -- Whether the topic may have had no event before: the predecessor is one that is not smaller.
  unsure boolean NOT NULL,
  -- Counts the events of the topic.
  number bigint NOT NULL,
  event bytea NOT NULL,
  UNIQUE (topic, sequence)
);

CREATE TABLE IF NOT EXISTS tower_sse_topics (
  topic text COLLATE "C" PRIMARY KEY,
  -- The last event, after all events were deleted.
  gone bigint NOT NULL DEFAULT 0,
  -- The events may be deleted if this is the last one still.
  forget bigint,
  -- When the topic may have had no event for long enough, in microseconds.
  look_at bigint NOT NULL,
  UNIQUE (look_at, topic)
);

-- Messages that are taken once.
CREATE TABLE IF NOT EXISTS tower_sse_messages (
  topic text COLLATE "C",
  message text COLLATE "C",
  -- The event of the message.
  sequence bigint NOT NULL,
  -- When the message may be taken again, in microseconds.
  until bigint NOT NULL,
  PRIMARY KEY (topic, message),
  UNIQUE (until, topic, message)
);

CREATE OR REPLACE FUNCTION tower_sse_now() RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

CREATE OR REPLACE FUNCTION tower_sse_random() RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT ('x' || substr(md5(gen_random_uuid()::text), 1, 15))::bit(60)::bigint
$$;

-- The last sequence, after which the next one is.
CREATE OR REPLACE FUNCTION tower_sse_last() RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT greatest(l.trimmed, (SELECT max(e.sequence) FROM tower_sse_events e))
  FROM tower_sse_log l
$$;

-- Whether an event was lost that a process knows of: it is not there, and it was not deleted, since
-- older ones of its topic were not.
CREATE OR REPLACE FUNCTION tower_sse_lacks(known_epoch bigint, known bigint, known_topic text)
RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT l.home <> l.tableoid
    OR l.epoch = known_epoch
      AND NOT EXISTS (SELECT FROM tower_sse_events e
        WHERE e.sequence = known AND e.topic = known_topic)
      AND known > coalesce(
        (SELECT e.predecessor FROM tower_sse_events e
          WHERE e.topic >= known_topic AND e.topic <= known_topic
          ORDER BY e.topic, e.sequence LIMIT 1),
        (SELECT t.gone FROM tower_sse_topics t WHERE t.topic = known_topic),
        l.expired)
  FROM tower_sse_log l
$$;

-- Begins another epoch if the log lacks an event.
CREATE OR REPLACE FUNCTION tower_sse_restart(known_epoch bigint, known bigint, known_topic text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM tower_sse_log FOR UPDATE;
  IF tower_sse_lacks(known_epoch, known, known_topic) THEN
    UPDATE tower_sse_log l SET epoch = tower_sse_random(), home = l.tableoid;
    PERFORM pg_notify('tower_sse', 'restarted');
  END IF;
END
$$;

-- Appends events, each to its topic, and returns the epoch and their sequences. Of a topic so many
-- events are kept. A topic is looked at when it had no event for so many microseconds. An event of a
-- message that was taken in the last microseconds of a window is not appended: the sequence of the
-- first one is returned.
CREATE OR REPLACE FUNCTION tower_sse_append(
  topics text[], events bytea[], keep bigint, idle bigint,
  messages text[] DEFAULT NULL, duplicate_window bigint DEFAULT 0
) RETURNS TABLE (epoch bigint, sequence bigint, is_repeat boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  log tower_sse_log;
  clock bigint;
  head bigint;
  trimmed_to bigint;
  before bigint;
  is_unsure boolean;
  count bigint;
  bound bigint;
  slack CONSTANT bigint := greatest(1, least(keep / 8, 128));
BEGIN
  -- Another level reads what was there before the lock, and names a wrong predecessor.
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'events are appended in transactions with the isolation "read committed"'
      USING ERRCODE = 'invalid_transaction_state';
  END IF;
  SELECT * INTO STRICT log FROM tower_sse_log FOR UPDATE;
  IF log.home <> 'tower_sse_log'::regclass THEN
    PERFORM tower_sse_restart(0, 0, '');
    SELECT * INTO STRICT log FROM tower_sse_log;
  END IF;
  -- After the lock, so that the clock is that of the order.
  clock := tower_sse_now();
  head := tower_sse_last();
  trimmed_to := log.trimmed;
  FOR i IN 1 .. cardinality(topics) LOOP
    epoch := log.epoch;
    SELECT m.sequence INTO sequence FROM tower_sse_messages m
      WHERE m.topic = topics[i] AND m.message = messages[i] AND m.until > clock;
    is_repeat := FOUND;
    IF is_repeat THEN
      RETURN NEXT;
      CONTINUE;
    END IF;
    head := greatest(head + 1, clock);
    is_unsure := false;
    -- In the order of both columns of the index. By the sequence alone, a planner may read the log
    -- from its end until it finds an event of the topic, which is all of it if there is none.
    SELECT e.sequence, e.number INTO before, count FROM tower_sse_events e
      WHERE e.topic >= topics[i] AND e.topic <= topics[i]
      ORDER BY e.topic DESC, e.sequence DESC LIMIT 1;
    IF NOT FOUND THEN
      count := 0;
      SELECT t.gone INTO before FROM tower_sse_topics t WHERE t.topic = topics[i];
    END IF;
    IF NOT FOUND THEN
      before := log.expired;
      is_unsure := log.expired > 0;
      INSERT INTO tower_sse_topics (topic, look_at) VALUES (topics[i], head + idle);
    END IF;
    INSERT INTO tower_sse_events (sequence, topic, predecessor, unsure, number, event)
      VALUES (head, topics[i], before, is_unsure, count + 1, events[i]);
    IF count >= keep AND count % slack = 0 THEN
      SELECT e.sequence INTO bound FROM tower_sse_events e
        WHERE e.topic = topics[i] ORDER BY e.sequence DESC OFFSET keep LIMIT 1;
      DELETE FROM tower_sse_events e WHERE e.topic = topics[i] AND e.sequence <= bound;
      trimmed_to := greatest(trimmed_to, bound);
    END IF;
    IF messages[i] IS NOT NULL THEN
      INSERT INTO tower_sse_messages VALUES (topics[i], messages[i], head, clock + duplicate_window)
        ON CONFLICT (topic, message) DO UPDATE
        SET sequence = excluded.sequence, until = excluded.until;
    END IF;
    sequence := head;
    RETURN NEXT;
  END LOOP;
  IF trimmed_to > log.trimmed THEN
    UPDATE tower_sse_log SET trimmed = trimmed_to;
  END IF;
  PERFORM pg_notify('tower_sse', head::text);
END
$$;

-- Deletes what may be forgotten, messages that may be taken again, and topics that had no event for so many microseconds. Returns
-- whether there may be more.
CREATE OR REPLACE FUNCTION tower_sse_sweep(idle bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  log tower_sse_log;
  due tower_sse_topics;
  clock bigint := tower_sse_now();
  last bigint;
  swept integer := 0;
  messages integer;
BEGIN
  DELETE FROM tower_sse_messages m WHERE (m.topic, m.message) IN (
    SELECT o.topic, o.message FROM tower_sse_messages o
    WHERE o.until <= clock ORDER BY o.until LIMIT 1000);
  GET DIAGNOSTICS messages = ROW_COUNT;
  PERFORM FROM tower_sse_topics t WHERE t.look_at <= clock LIMIT 1;
  IF NOT FOUND THEN
    RETURN messages = 1000;
  END IF;
  SELECT * INTO STRICT log FROM tower_sse_log FOR UPDATE;
  FOR due IN SELECT * FROM tower_sse_topics t WHERE t.look_at <= clock
    ORDER BY t.look_at LIMIT 8
  LOOP
    swept := swept + 1;
    last := coalesce(
      (SELECT max(e.sequence) FROM tower_sse_events e WHERE e.topic = due.topic), due.gone);
    IF last + idle <= clock THEN
      DELETE FROM tower_sse_events e WHERE e.topic = due.topic;
      DELETE FROM tower_sse_topics t WHERE t.topic = due.topic;
      log.trimmed := greatest(log.trimmed, last);
      log.expired := greatest(log.expired, last);
    ELSIF due.forget >= last THEN
      DELETE FROM tower_sse_events e WHERE e.topic = due.topic;
      UPDATE tower_sse_topics t SET gone = last, forget = NULL, look_at = last + idle
        WHERE t.topic = due.topic;
      log.trimmed := greatest(log.trimmed, last);
    ELSE
      UPDATE tower_sse_topics t SET forget = NULL, look_at = last + idle
        WHERE t.topic = due.topic;
    END IF;
  END LOOP;
  UPDATE tower_sse_log l SET trimmed = log.trimmed, expired = log.expired
    WHERE (l.trimmed, l.expired) <> (log.trimmed, log.expired);
  RETURN swept = 8 OR messages = 1000;
END
$$;

INSERT INTO tower_sse_log (version, epoch, home)
  VALUES (1, tower_sse_random(), 'tower_sse_log'::regclass)
  ON CONFLICT DO NOTHING;
