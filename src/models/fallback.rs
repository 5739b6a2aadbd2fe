//! Asks the next model when one fails in a way that another may not.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::task::{ModelName, Usage, Usd};

use super::{Answer, Chunk, Hear, Heard, Model, ModelError, Request};

/// Several models in the order in which they are asked.
pub(super) struct Fallback {
    first: Arc<dyn Model>,
    then: Vec<Arc<dyn Model>>,
}

impl Fallback {
    /// `first`, and after it `then`; just `first` if there is nothing else.
    pub(super) fn chain(first: Arc<dyn Model>, then: Vec<Arc<dyn Model>>) -> Arc<dyn Model> {
        if then.is_empty() { first } else { Arc::new(Self { first, then }) }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<dyn Model>> {
        std::iter::once(&self.first).chain(&self.then)
    }
}

#[async_trait]
impl Model for Fallback {
    /// The first model's name.
    fn name(&self) -> &ModelName {
        self.first.name()
    }

    /// What the dearest of them takes: nobody knows which of them will answer.
    fn cost(&self, usage: &Usage) -> Option<Usd> {
        self.all().filter_map(|model| model.cost(usage)).max()
    }

    /// That of the smallest of them: whoever answers has to have read it all.
    fn window(&self) -> Option<u64> {
        self.all().filter_map(|model| model.window()).min()
    }

    /// As many as it may be for any of them.
    fn tokens(&self, bytes: u64) -> u64 {
        self.all().map(|model| model.tokens(bytes)).max().unwrap_or(bytes)
    }

    /// Only if nobody who may answer is guessed at.
    fn is_calibrated(&self) -> bool {
        self.all().all(|model| model.is_calibrated())
    }

    async fn generate(&self, request: Request) -> Result<Answer, ModelError> {
        let mut first_failure = None;
        for model in self.all() {
            match model.generate(request.clone()).await {
                Err(error) if may_help(&error) => note(&mut first_failure, model.name(), error),
                Ok(answer) if first_failure.is_none() => return Ok(answer),
                Ok(answer) => return Ok(by(model.name(), answer, first_failure.as_ref())),
                Err(error) => return Err(told(first_failure, error)),
            }
        }
        Err(first_failure.unwrap_or_else(nobody))
    }

    /// What was heard of a model that failed is void.
    async fn speak(&self, request: Request, hear: Hear<'_>) -> Result<Answer, ModelError> {
        let mut first_failure = None;
        for model in self.all() {
            if first_failure.is_some() {
                hear(Heard::Anew);
            }
            match model.speak(request.clone(), hear).await {
                Err(error) if may_help(&error) => note(&mut first_failure, model.name(), error),
                Ok(answer) if first_failure.is_none() => return Ok(answer),
                Ok(answer) => return Ok(by(model.name(), answer, first_failure.as_ref())),
                Err(error) => return Err(told(first_failure, error)),
            }
        }
        Err(first_failure.unwrap_or_else(nobody))
    }

    /// Only failures before the first piece lead to the next model: pieces cannot be taken
    /// back.
    async fn stream(
        &self,
        request: Request,
    ) -> Result<BoxStream<'static, Result<Chunk, ModelError>>, ModelError> {
        let mut first_failure = None;
        for model in self.all() {
            match model.stream(request.clone()).await {
                Err(error) if may_help(&error) => note(&mut first_failure, model.name(), error),
                Ok(pieces) if first_failure.is_none() => return Ok(pieces),
                Ok(pieces) => {
                    let name = model.name().clone();
                    let signed = pieces.map(move |piece| match piece {
                        Ok(Chunk::End(answer)) => Ok(Chunk::End(by(&name, answer, first_failure.as_ref()))),
                        other => other,
                    });
                    return Ok(signed.boxed());
                }
                Err(error) => return Err(told(first_failure, error)),
            }
        }
        Err(first_failure.unwrap_or_else(nobody))
    }
}

/// Whether another model may do better.
fn may_help(error: &ModelError) -> bool {
    error.fault().is_retryable() || matches!(error.why(), ModelError::Refused { .. })
}

/// Of the failures of a chain the first one is what the caller hears in the end: it is about the model
/// that was asked for, and it may carry the provider's wish to wait.
fn note(first: &mut Option<ModelError>, model: &ModelName, error: ModelError) {
    tracing::warn!(%model, %error, "this model failed; the next of the fallback chain is asked");
    *first = Some(told(first.take(), error));
}

/// Which of two failures is told. That a model was not asked at all counts only where nobody was: a caller
/// that hears it takes the attempt for none, and for free.
///
/// What all of them took is paid for, whichever is told.
fn told(first: Option<ModelError>, next: ModelError) -> ModelError {
    let was_asked = |error: &ModelError| !matches!(error.why(), ModelError::CircuitOpen { .. });
    let Some(first) = first else { return next };
    let mut spent = paid_for(Some(&first));
    spent += paid_for(Some(&next));
    let told = if was_asked(&first) || !was_asked(&next) { first } else { next };
    told.having_spent(spent)
}

fn paid_for(failures: Option<&ModelError>) -> Usage {
    failures.and_then(ModelError::usage).unwrap_or_default()
}

/// The answer of a model that was not the one that was asked, with what those before it took for theirs.
fn by(model: &ModelName, answer: Answer, failures: Option<&ModelError>) -> Answer {
    let mut usage = answer.usage;
    usage += paid_for(failures);
    Answer { model: Some(model.clone()), usage, ..answer }
}

fn nobody() -> ModelError {
    ModelError::NotConfigured("the fallback chain is empty".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Role, Scripted};
    use super::*;

    fn scripted(name: &str, rules: &str) -> Arc<dyn Model> {
        Arc::new(Scripted::parse(name, &format!(r#"{{"rules":[{rules}]}}"#)).unwrap())
    }

    async fn ask(models: [&str; 2]) -> Result<String, ModelError> {
        let [first, second] = models.map(|rules| scripted("m", rules));
        let chain = Fallback::chain(first, vec![second]);
        let request = Request::new(Role::Execute, "g", "", "do");
        chain.generate(request).await.map(|answer| answer.text)
    }

    const FINE: &str = r#"{"reply":{"text":"fine"}}"#;

    #[tokio::test]
    async fn passing_failures_lead_to_the_next_model() {
        for kind in ["rate-limited", "unavailable", "timeout", "malformed"] {
            let failing = format!(r#"{{"reply":{{"error":{{"kind":"{kind}"}}}}}}"#);
            assert_eq!(ask([&failing, FINE]).await.unwrap(), "fine", "{kind}");
        }
    }

    #[tokio::test]
    async fn what_is_heard_is_what_is_answered() {
        let failing = r#"{"reply":{"error":{"kind":"unavailable"}}}"#;
        let [first, second] = [failing, FINE].map(|rules| scripted("m", rules));
        let heard = std::sync::Mutex::new(String::new());
        let hear = |piece: Heard<'_>| match piece {
            Heard::Text(text) => heard.lock().unwrap().push_str(text),
            other => heard.lock().unwrap().push_str(&format!("{other:?} ")),
        };
        let chain = Fallback::chain(first, vec![second]);
        let answer = chain.speak(Request::new(Role::Execute, "g", "", "do"), &hear).await.unwrap();
        assert_eq!((answer.text.as_str(), heard.lock().unwrap().as_str()), ("fine", "Anew fine"));
    }

    #[tokio::test]
    async fn who_answered_in_the_place_of_another_is_told() {
        let failing = r#"{"times":1,"reply":{"error":{"kind":"unavailable"}}},{"reply":{"text":"back"}}"#;
        let chain = Fallback::chain(scripted("first", failing), vec![scripted("second", FINE)]);
        let request = || Request::new(Role::Execute, "g", "", "do");
        let answer = chain.generate(request()).await.unwrap();
        assert_eq!(answer.model, Some("scripted/second".parse().unwrap()));
        assert_eq!(chain.speak(request(), &|_| ()).await.unwrap().model, None);
    }

    #[tokio::test]
    async fn lasting_failures_do_not() {
        for kind in ["rejected", "quota", "overflow"] {
            let failing = format!(r#"{{"reply":{{"error":{{"kind":"{kind}"}}}}}}"#);
            assert!(ask([&failing, FINE]).await.is_err(), "{kind}");
        }
    }

    /// Fails in one way.
    struct Failing(ModelName, fn(String) -> ModelError);

    #[async_trait]
    impl Model for Failing {
        fn name(&self) -> &ModelName {
            &self.0
        }

        async fn generate(&self, _: Request) -> Result<Answer, ModelError> {
            Err((self.1)(self.0.to_string()))
        }

        async fn stream(
            &self,
            request: Request,
        ) -> Result<BoxStream<'static, Result<Chunk, ModelError>>, ModelError> {
            Err(self.generate(request).await.unwrap_err())
        }
    }

    fn failing(how: fn(String) -> ModelError) -> Arc<dyn Model> {
        Arc::new(Failing("a/failing".parse().unwrap(), how))
    }

    /// Answers with what nobody can use.
    fn babbling() -> Arc<dyn Model> {
        failing(|model| {
            let why = ModelError::Malformed { model, detail: "babble".to_owned() };
            why.having_spent(Usage { output_tokens: 5, model_calls: 1, ..Usage::default() })
        })
    }

    /// Says that its breaker is open.
    fn skipped() -> Arc<dyn Model> {
        failing(|model| {
            let retry_after = std::time::Duration::from_secs(60);
            ModelError::CircuitOpen { model, retry_after }
        })
    }

    #[tokio::test]
    async fn what_failed_models_took_is_paid_for_whoever_answers() {
        let request = || Request::new(Role::Execute, "g", "", "do");
        let alone = scripted("second", FINE).generate(request()).await.unwrap().usage;
        let chain = Fallback::chain(babbling(), vec![scripted("second", FINE)]);
        let usage = chain.generate(request()).await.unwrap().usage;
        assert_eq!(usage.output_tokens, alone.output_tokens + 5);
        assert_eq!(usage.model_calls, alone.model_calls + 1);
        let failed = Fallback::chain(babbling(), vec![babbling()]).generate(request()).await.unwrap_err();
        assert_eq!((failed.code(), failed.usage().unwrap().output_tokens), ("model_malformed", 10));
    }

    #[tokio::test]
    async fn what_a_model_said_is_told_and_not_that_another_was_not_asked() {
        let request = || Request::new(Role::Execute, "g", "", "do");
        for kind in ["overflow", "rejected", "malformed", "timeout"] {
            let failing = scripted("m", &format!(r#"{{"reply":{{"error":{{"kind":"{kind}"}}}}}}"#));
            let alone = failing.generate(request()).await.unwrap_err().fault();
            let chain = Fallback::chain(skipped(), vec![failing.clone(), skipped()]);
            let told = chain.generate(request()).await.unwrap_err().fault();
            assert_eq!((told.code.as_str(), told.class), (alone.code.as_str(), alone.class));
            let spoken = chain.speak(request(), &|_| ()).await.unwrap_err().fault();
            assert_eq!((spoken.code.as_str(), spoken.spares_attempt()), (alone.code.as_str(), false));
            let streamed = chain.stream(request()).await.err().map(|error| error.fault().code);
            assert!(streamed.is_none_or(|code| code == alone.code), "{kind}");
        }
        let all_skipped = Fallback::chain(skipped(), vec![skipped()]);
        assert!(all_skipped.generate(request()).await.unwrap_err().fault().spares_attempt());
    }

    #[tokio::test]
    async fn the_first_failure_is_reported_when_all_fail() {
        let limited = r#"{"reply":{"error":{"kind":"rate-limited","retryAfterMs":50}}}"#;
        let rejected = r#"{"reply":{"error":{"kind":"rejected"}}}"#;
        let error = ask([limited, rejected]).await.unwrap_err();
        assert_eq!(error.fault().retry_after_ms, Some(50));
    }
}
