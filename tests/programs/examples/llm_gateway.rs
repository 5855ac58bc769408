//! The gateway in front of models, as the SDKs of OpenAI and Anthropic see it.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::figures::figure;
use crate::harness::llm::{APIS, Answers, Outcome, Question, outcomes_of};
use crate::harness::ports::free_port;
use crate::harness::process::{Example, Transcript, curl, text};

/// Of the clients, in milliseconds. The silences are several times as long.
const TIMEOUT: u64 = 2_000;

const SILENCES: [&str; 2] = ["words=3,before=8000", "words=3,after=8000"];

#[tokio::test]
async fn an_answer_is_read_as_it_was_given_whatever_its_silences() {
    let gateway = gateway(&[]).await;
    let model = model().await;
    let given = outcomes_of(&Question::of_each_api(&model.url(""), "words=3")).await;
    let impatient = |url: &str| {
        let questions = SILENCES.iter().flat_map(|model| Question::of_each_api(url, model));
        let questions = questions.map(|question| Question { timeout: TIMEOUT, ..question });
        questions.collect::<Vec<_>>()
    };

    let answers = outcomes_of(&impatient(&gateway.url(""))).await;
    for (sdk, answers) in &answers {
        for (at, answer) in answers.iter().enumerate() {
            let given = &given[sdk][at % APIS.len()];
            assert_eq!(answer.error, None, "{sdk} {at}: {}", answer.message);
            assert_eq!((&*answer.text, &answer.types), ("0 1 2 ", &given.types), "{sdk} {at}");
        }
    }

    // Of the model itself they get nothing, so it is the gateway that keeps them.
    for (sdk, answers) in outcomes_of(&impatient(&model.url(""))).await {
        assert!(answers.iter().all(|answer| answer.error.is_some()), "{sdk}: {answers:?}");
    }
}

#[tokio::test]
async fn the_gateway_adds_comments_only_and_keeps_the_last_event() {
    let gateway = gateway(&[]).await;
    let model = model().await;
    for (path, last) in [
        ("/v1/chat/completions", "data: [DONE]\n\n"),
        ("/v1/responses", "\"type\":\"response.completed\"}\n\n"),
    ] {
        let asked = "words=3,before=2000,after=2000";
        let given = ask(&model, path, asked, &[]).end();
        let answer = ask(&gateway, path, asked, &["-H", LARGE]).end();
        let ((given, _), (answer, _)) = tokio::join!(given, answer);
        assert!(answer.ends_with(last), "{answer}");
        assert!(answer.matches(":\n").count() > 4, "{answer}");
        assert_eq!(answer.replace(":\n", ""), given);
    }
}

#[tokio::test]
async fn an_answer_of_a_model_that_dies_is_an_error_of_the_sdk_each_time() {
    let mut model = model().await;
    let gateway = gateway(&[("UPSTREAM", &model.url(""))]).await;
    // Half of the answers have words, and half are being thought about.
    let of_each = ["words=2,every=600000", "before=600000"].into_iter();
    let of_each = of_each.flat_map(|model| Question::of_each_api(&gateway.url(""), model));
    let questions: Vec<Question> = std::iter::repeat_n(of_each, 50).flatten().collect();
    let said = figure("src/manual/llm.md", "in the middle of ", " answers");
    assert_eq!((2 * questions.len()).to_string(), said.to_string());
    let [mut javascript, mut python] = Answers::ask(&questions).await;
    tokio::join!(javascript.have_begun(), python.have_begun());

    let killed = SystemTime::now();
    model.signal("KILL").await;
    model.exit().await;
    for answers in [&mut javascript, &mut python] {
        let outcomes = answers.outcomes().await;
        for (question, outcome) in questions.iter().zip(&outcomes) {
            is_error_of_sdk(answers.sdk, question.api, outcome);
        }
        let late = outcomes.iter().map(|outcome| outcome.ended_after(killed)).fold(0.0, f64::max);
        // It is within a second on a machine that does nothing else.
        assert!(late < 10_000.0, "{}: {late} ms", answers.sdk);
    }
}

#[tokio::test]
async fn a_model_that_says_nothing_more_is_an_error_of_the_sdk() {
    let gateway = gateway(&[("SILENCE_MS", "1500")]).await;
    let hangs = ["words=2,end=hang", "before=600000"].into_iter();
    let hangs = hangs.flat_map(|model| Question::of_each_api(&gateway.url(""), model));
    let questions: Vec<Question> = hangs.collect();
    for (sdk, outcomes) in outcomes_of(&questions).await {
        for (question, outcome) in questions.iter().zip(&outcomes) {
            is_error_of_sdk(sdk, question.api, outcome);
        }
        assert!(outcomes[..3].iter().all(|outcome| outcome.text == "0 1 "), "{outcomes:?}");
    }
}

#[tokio::test]
async fn a_key_with_too_many_answers_gets_the_rate_limit_error_of_the_sdk() {
    let gateway = gateway(&[]).await;
    let mut open = ["/v1/chat/completions", "/v1/messages"]
        .map(|path| ask(&gateway, path, "words=1000000", &["-H", "Authorization: Bearer small"]));
    for answer in &mut open {
        answer.until(|text| text.contains("\"0 \"")).await;
    }

    let of_small = |question| Question { key: "small", ..question };
    let refused = Question::of_each_api(&gateway.url(""), "words").into_iter();
    let refused: Vec<Question> = refused.map(of_small).collect();
    for (sdk, outcomes) in outcomes_of(&refused).await {
        for outcome in outcomes {
            assert_eq!(outcome.error.as_deref(), Some("RateLimitError"), "{sdk}: {outcome:?}");
            assert!(outcome.message.contains("too many streams are open"), "{outcome:?}");
        }
    }
    // Other keys are served meanwhile.
    for (sdk, outcomes) in outcomes_of(&Question::of_each_api(&gateway.url(""), "words")).await {
        assert!(outcomes.iter().all(|outcome| outcome.error.is_none()), "{sdk}: {outcomes:?}");
    }

    // A client that tries again is served as soon as there is a place.
    let patient = refused.into_iter().map(|question| Question { retries: 20, ..question });
    let patient: Vec<Question> = patient.collect();
    let (outcomes, ()) = tokio::join!(outcomes_of(&patient), async {
        sleep(Duration::from_secs(3)).await;
        drop(open);
    });
    for (sdk, outcomes) in outcomes {
        for outcome in outcomes {
            assert_eq!((outcome.error, &*outcome.text), (None, "0 1 2 3 4 "), "{sdk}");
        }
    }
}

#[tokio::test]
async fn a_drain_is_the_server_error_of_the_sdk() {
    let operators = free_port().to_string();
    let settings = [("OPERATORS_PORT", &*operators), ("FINISH_MS", "3000")];
    let gateway = gateway(&settings).await;
    let mut endless = Question::of_each_api(&gateway.url(""), "words=1000000");
    // It may finish.
    endless.push(Question::new("chat", &gateway.url(""), "words=10,every=100"));
    let [mut javascript, mut python] = Answers::ask(&endless).await;
    tokio::join!(javascript.have_begun(), python.have_begun());

    let drain = format!("http://127.0.0.1:{operators}/drain");
    let drained = tokio::spawn(async move { text(&curl(&["-X", "POST", &drain]).await) });
    for answers in [&mut javascript, &mut python] {
        let outcomes = answers.outcomes().await;
        for (question, outcome) in endless.iter().zip(&outcomes[..3]) {
            is_error_of_sdk(answers.sdk, question.api, outcome);
            assert!(outcome.message.contains("shuts down"), "{outcome:?}");
        }
        assert_eq!(outcomes[3].error, None, "{}: {:?}", answers.sdk, outcomes[3]);
    }
    assert!(drained.await.expect("it ends").starts_with("drained "));

    for retries in [0, 1] {
        let refused = Question::of_each_api(&gateway.url(""), "words").into_iter();
        let refused: Vec<_> = refused.map(|question| Question { retries, ..question }).collect();
        for (sdk, outcomes) in outcomes_of(&refused).await {
            for outcome in outcomes {
                let error = outcome.error.as_deref();
                let is_of_server =
                    matches!(error, Some("InternalServerError" | "ServiceUnavailableError"));
                assert!(is_of_server, "{sdk}: {outcome:?}");
                assert!(outcome.message.contains("503"), "{sdk}: {outcome:?}");
                assert!(outcome.message.contains("shuts down"), "{sdk}: {outcome:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_status_of_the_model_is_that_of_the_answer_unless_the_head_is_sent() {
    // Sent late, so that no machine is too slow for it.
    let patient = gateway(&[("THINKING_MS", "60000")]).await;
    let soon = Question::of_each_api(&patient.url(""), "status=429");
    for (sdk, outcomes) in outcomes_of(&soon).await {
        for outcome in outcomes {
            assert_eq!(outcome.error.as_deref(), Some("RateLimitError"), "{sdk}: {outcome:?}");
            assert!(outcome.message.contains("the model is overloaded"), "{outcome:?}");
        }
    }
    let gateway = gateway(&[]).await;
    let late = Question::of_each_api(&gateway.url(""), "status=429,before=3000");
    for (sdk, outcomes) in outcomes_of(&late).await {
        for (question, outcome) in late.iter().zip(&outcomes) {
            is_error_of_sdk(sdk, question.api, outcome);
            assert!(outcome.message.contains("the model is overloaded"), "{sdk}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_client_comes_back_to_an_answer_that_went_on() {
    let gateway = gateway(&[]).await;
    let ask = |id: &str| {
        let id = format!("Last-Event-ID: {id}");
        let headers = ["-H", LARGE, "-H", "Idempotency-Key: one", "-H", &id];
        ask(&gateway, "/v1/chat/completions", "words=20,every=150", &headers)
    };
    let mut first = ask("");
    first.until(|text| text.contains("\"content\":\"2 \"")).await;
    let seen = first.text();
    let id = seen.lines().filter_map(|line| line.strip_prefix("id: ")).next_back();
    drop(first);
    let (rest, _) = ask(id.expect("it has ids")).end().await;

    let words = |text: &str| {
        let data = text.lines().filter_map(|line| line.strip_prefix("data: {"));
        let chunks = data.map(|data| serde_json::from_str::<Value>(&format!("{{{data}")));
        let chunks = chunks.map(|chunk| chunk.expect("it is JSON"));
        let words = chunks.map(|chunk| chunk["choices"][0]["delta"]["content"].clone());
        words.filter_map(|word| word.as_str().map(str::to_owned)).collect::<String>()
    };
    let whole: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let whole = whole.join(" ") + " ";
    assert_eq!(words(&seen) + &words(&rest), whole);
    assert!(rest.contains("data: [DONE]\n"), "{rest}");
}

#[tokio::test]
async fn an_answer_that_a_client_can_come_back_to_fails_in_the_words_of_its_api() {
    let gateway = gateway(&[]).await;
    for (path, error) in [
        ("/v1/chat/completions", "data: {\"error\":{\"message\":\"the stream failed\""),
        ("/v1/messages", "event: error\ndata: {\"type\":\"error\",\"error\":{"),
    ] {
        let headers = ["-H", LARGE, "-H", "Idempotency-Key: one"];
        let (text, _) = ask(&gateway, path, "words=2,end=cut", &headers).end().await;
        assert!(text.contains(error) && !text.contains("event: close"), "{text}");
    }
}

#[tokio::test]
async fn what_is_no_stream_passes_and_who_has_no_key_is_told() {
    let gateway = gateway(&[]).await;
    let asked = json!({ "model": "words" }).to_string();
    let post = ["-H", "Content-Type: application/json", "-d", &asked];
    let url = gateway.url("/v1/chat/completions");
    let known = ["-H", LARGE, &url];
    let whole: Value = parse(&curl(&[&post[..], &known].concat()).await.stdout);
    assert_eq!(whole["choices"][0]["message"]["content"], "0 1 2 3 4 ");

    let mut questions = Question::of_each_api(&gateway.url(""), "words");
    for question in &mut questions {
        question.key = "unknown";
    }
    for (sdk, outcomes) in outcomes_of(&questions).await {
        for outcome in outcomes {
            assert_eq!(outcome.error.as_deref(), Some("AuthenticationError"), "{sdk}: {outcome:?}");
        }
    }
}

/// Asks with curl.
fn ask(example: &Example, path: &str, model: &str, headers: &[&str]) -> Transcript {
    let asked = json!({ "model": model, "stream": true }).to_string();
    let post = ["-H", "Content-Type: application/json", "-d", &asked, &example.url(path)];
    Transcript::of(&[headers, &post].concat())
}

const LARGE: &str = "Authorization: Bearer large";

/// An exception of the SDK itself, and not of what it is made with.
fn is_error_of_sdk(sdk: &str, api: &str, outcome: &Outcome) {
    let expected = match (sdk, api) {
        ("python", "messages") => "APIStatusError",
        _ => "APIError",
    };
    assert_eq!(outcome.error.as_deref(), Some(expected), "{sdk} {api}: {outcome:?}");
}

/// A gateway that is as impatient as the clients of these tests.
async fn gateway(settings: &[(&str, &str)]) -> Example {
    let port = free_port().to_string();
    let own = [("OPERATORS_PORT", &*port), ("THINKING_MS", "300"), ("KEEP_ALIVE_MS", "200")];
    Example::start("llm_gateway", &[&own[..], settings].concat()).await
}

async fn model() -> Example {
    Example::start("llm_gateway", &[("SERVE", "model")]).await
}

fn parse(json: &[u8]) -> Value {
    serde_json::from_slice(json).expect("it is JSON")
}
