//! The connection to Redis: kept in the background, told apart at once when it is gone or takes no
//! writes.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bullmq::options::{QueueOptions, RedisConnectionOptions, TlsCerts};
use redis::TlsCertificates;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::QueueConfig;
use crate::queue::QueueError;

/// How long Redis may take to let us in.
const CONNECT: Duration = Duration::from_secs(2);
/// How long it may take to answer before it counts as away.
pub(super) const ANSWER: Duration = Duration::from_secs(1);
/// How long it may take for a job to be worth its while: one that is written and handed out more slowly
/// comes later than a look into the database. One slow answer says nothing, so many in a row do.
const SLOW: Duration = Duration::from_millis(500);
const SLOW_ANSWERS: u32 = 3;
/// How often it is asked whether it is there, and how soon again once it is not.
const BEATS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(500));
/// How long it has to be well to count as steady. One that goes sooner is trusted again later each time,
/// and at last after this while.
const STEADY: Duration = Duration::from_secs(60);
const LATEST: Duration = Duration::from_secs(30);

/// A script that writes nothing, for its key is never there. It is refused whenever a job would be: by a
/// Redis that is full or reads only, that may run no scripts, or cannot save what it is told.
const PROBE: &str = "return redis.call('SET', KEYS[1], '1', 'XX')";

/// The library's queue, while Redis answers and takes what is written.
pub(super) type Connected = Option<Arc<bullmq::Queue>>;

/// Keeps the connection for as long as it lives.
pub(super) struct Link {
    config: Arc<QueueConfig>,
    queue: watch::Receiver<Connected>,
    tried: watch::Receiver<bool>,
    trouble: Arc<Mutex<String>>,
    /// Somebody saw that Redis does not do what it is told.
    doubt: Arc<Notify>,
    _kept: DropGuard,
}

impl Link {
    /// Begins to connect. Fails only if the address can never be one.
    pub(super) fn start(config: Arc<QueueConfig>) -> Result<Self, QueueError> {
        refuse_nonsense(&config)?;
        install_tls(&config);
        let (connected, queue) = watch::channel(None);
        let (tried, was_tried) = watch::channel(false);
        let trouble = Arc::new(Mutex::new("it is not connected yet".to_owned()));
        let (stop, doubt) = (CancellationToken::new(), Arc::new(Notify::new()));
        let kept = Kept { config: config.clone(), connected, tried, trouble: trouble.clone() };
        let keeping = keep(kept, doubt.clone());
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(keeping).await });
        Ok(Self { config, queue, tried: was_tried, trouble, doubt, _kept: stop.drop_guard() })
    }

    pub(super) fn config(&self) -> &QueueConfig {
        &self.config
    }

    /// The queue, if Redis answers and takes what is written.
    pub(super) fn queue(&self) -> Connected {
        self.queue.borrow().clone()
    }

    /// Whether Redis was tried and does not answer, or takes no writes.
    pub(super) fn is_away(&self) -> bool {
        *self.tried.borrow() && self.queue().is_none()
    }

    /// Waits until it is known for the first time whether Redis answers.
    pub(super) async fn tried(&self) {
        // The sender goes only with this.
        let _ = self.tried.clone().wait_for(|tried| *tried).await;
    }

    /// Tells when Redis goes and comes.
    pub(super) fn watch(&self) -> watch::Receiver<Connected> {
        self.queue.clone()
    }

    /// Looks at once whether Redis does what it is told, because something was not done. Returns whether
    /// jobs still go through it.
    pub(super) async fn look(&self) -> bool {
        let Some(queue) = self.queue() else { return false };
        let is_well = probe(&queue).await.is_ok();
        if !is_well {
            // Whoever keeps the connection looks for itself.
            self.doubt.notify_one();
        }
        is_well
    }

    /// Why Redis was away when it was last tried.
    pub(super) fn trouble(&self) -> QueueError {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        QueueError::new(format!("{}: {trouble}", self.config.place()))
    }

    /// Asks something, and does not wait longer than twice the time of one answer.
    pub(super) async fn ask<T, F>(
        &self,
        question: impl FnOnce(Arc<bullmq::Queue>) -> F,
    ) -> Result<T, QueueError>
    where
        F: Future<Output = Result<T, bullmq::Error>>,
    {
        let Some(queue) = self.queue() else { return Err(self.trouble()) };
        match tokio::time::timeout(ANSWER * 2, question(queue)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(QueueError::caused(self.config.place(), error)),
            Err(_) => Err(QueueError::new(format!("{} does not answer", self.config.place()))),
        }
    }
}

/// Connects afresh, so that the answer is about now, and tells which Redis it is.
pub(super) async fn introduce(config: &QueueConfig) -> Result<String, QueueError> {
    refuse_nonsense(config)?;
    install_tls(config);
    let queue =
        connect(config).await.map_err(|trouble| QueueError::new(format!("{}: {trouble}", config.place())))?;
    let asked = async {
        let mut info = redis::cmd("INFO");
        let info: String = queue.connection().cmd(&mut info).await?;
        Ok::<_, bullmq::Error>((info, queue.is_paused().await?))
    };
    let (info, is_paused) = match tokio::time::timeout(ANSWER, asked).await {
        Ok(Ok(answered)) => answered,
        // A server that hides INFO is a server all the same.
        Ok(Err(_)) | Err(_) => (String::new(), queue.is_paused().await.unwrap_or(false)),
    };
    let paused = if is_paused { "; the queue is paused: tasks wait until it is resumed" } else { "" };
    Ok(introduction(config, &info) + paused)
}

fn introduction(config: &QueueConfig, info: &str) -> String {
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    };
    let version = field("redis_version").map_or(String::new(), |version| format!(" {version}"));
    let evicts = field("maxmemory_policy").filter(|policy| *policy != "noeviction");
    let warning = evicts.map_or(String::new(), |policy| {
        format!("; its maxmemory-policy is {policy}, BullMQ wants noeviction")
    });
    format!("Redis{version} answers in {}, queue {}{warning}", config.place(), config.name)
}

/// What is told of the connection.
struct Kept {
    config: Arc<QueueConfig>,
    connected: watch::Sender<Connected>,
    tried: watch::Sender<bool>,
    trouble: Arc<Mutex<String>>,
}

/// Connects, watches, and connects again, for ever.
async fn keep(kept: Kept, doubt: Arc<Notify>) {
    let mut log = Log::default();
    loop {
        let trouble = match connect(&kept.config).await {
            Ok(queue) => {
                let since = Instant::now();
                log.is_well(&kept.config, since);
                kept.connected.send_replace(Some(Arc::new(queue.clone())));
                kept.tried.send_replace(true);
                let trouble = watch_over(&queue, &doubt, || log.is_well(&kept.config, since)).await;
                log.falls += 1;
                trouble
            }
            Err(trouble) => trouble,
        };
        kept.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&trouble);
        kept.connected.send_replace(None);
        kept.tried.send_replace(true);
        log.is_away(&kept.config, &trouble);
        tokio::time::sleep(log.wait()).await;
    }
}

/// What was told of it. A Redis that comes and goes is told of twice, and again when it is steady.
#[derive(Debug, Default)]
struct Log {
    is_told_as: Option<bool>,
    /// How often it went since it was steady last.
    falls: u32,
}

impl Log {
    fn is_well(&mut self, config: &QueueConfig, since: Instant) {
        if since.elapsed() >= STEADY {
            self.falls = 0;
        }
        if self.is_told_as != Some(true) && self.falls <= 1 {
            tracing::info!(redis = %config.place(), queue = %config.name, "jobs go through Redis");
            self.is_told_as = Some(true);
        }
    }

    fn is_away(&mut self, config: &QueueConfig, trouble: &str) {
        if self.is_told_as != Some(false) {
            let redis = config.place();
            tracing::warn!(%redis, trouble, "jobs do not go through Redis: the database is the queue");
            self.is_told_as = Some(false);
        }
    }

    /// How long to leave it alone.
    fn wait(&self) -> Duration {
        (BEATS.1 * 2_u32.pow(self.falls.saturating_sub(1).min(10))).min(LATEST)
    }
}

/// Returns what went wrong once something does; says after each look that nothing has.
async fn watch_over(queue: &bullmq::Queue, doubt: &Notify, mut is_well: impl FnMut()) -> String {
    let mut slow = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(BEATS.0) => {}
            () = doubt.notified() => {}
        }
        match probe(queue).await {
            Ok(took) if took > SLOW => slow += 1,
            Ok(_) => slow = 0,
            Err(trouble) => return trouble,
        }
        if slow == SLOW_ANSWERS {
            return too_slow();
        }
        is_well();
    }
}

/// Whether Redis would take a job, and how long it takes to say so.
async fn probe(queue: &bullmq::Queue) -> Result<Duration, String> {
    let mut script = redis::cmd("EVAL");
    script.arg(PROBE).arg(1).arg(queue.keys().get("longhaul-probe"));
    let asked = Instant::now();
    match tokio::time::timeout(ANSWER, queue.connection().cmd::<()>(&mut script)).await {
        Ok(Ok(())) => Ok(asked.elapsed()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it does not answer".to_owned()),
    }
}

async fn connect(config: &QueueConfig) -> Result<bullmq::Queue, String> {
    let options = QueueOptions::new().connection(connection(config)).prefix(&config.prefix);
    match tokio::time::timeout(CONNECT, bullmq::Queue::with_options(&config.name, options)).await {
        Ok(Ok(queue)) => is_quick(&queue).await.map(|()| queue),
        Ok(Err(error)) => Err(error.to_string()),
        // The library goes on trying and keeps to itself what it saw.
        Err(_) => Err(refusal(config).await.unwrap_or_else(|| "it cannot be connected to".to_owned())),
    }
}

/// Whether Redis does what it is told, and not too slowly.
async fn is_quick(queue: &bullmq::Queue) -> Result<(), String> {
    for _ in 0..SLOW_ANSWERS {
        if probe(queue).await? <= SLOW {
            return Ok(());
        }
    }
    Err(too_slow())
}

fn too_slow() -> String {
    format!("it takes more than {} ms to answer", SLOW.as_millis())
}

/// What Redis says to whoever connects, if it says no: that the password is wrong, or nobody listens.
async fn refusal(config: &QueueConfig) -> Option<String> {
    let client = client(config).ok()?;
    match tokio::time::timeout(ANSWER, client.get_multiplexed_async_connection()).await {
        Ok(Err(error)) => Some(error.to_string()),
        Ok(Ok(_)) | Err(_) => None,
    }
}

pub(super) fn connection(config: &QueueConfig) -> RedisConnectionOptions {
    let options = RedisConnectionOptions::new().url(&config.url);
    match config.authority.clone() {
        Some(authority) => options.tls_certs(TlsCerts { root_cert: Some(authority), ..TlsCerts::default() }),
        None => options,
    }
}

fn client(config: &QueueConfig) -> redis::RedisResult<redis::Client> {
    match config.authority.clone() {
        Some(authority) => redis::Client::build_with_tls(
            config.url.as_str(),
            TlsCertificates { client_tls: None, root_cert: Some(authority) },
        ),
        None => redis::Client::open(config.url.as_str()),
    }
}

fn refuse_nonsense(config: &QueueConfig) -> Result<(), QueueError> {
    let is_name = |name: &str| !name.is_empty() && !name.contains(':');
    if !is_name(&config.name) || !is_name(&config.prefix) {
        return Err(QueueError::new(
            "the name and the prefix of the queue must not be empty or hold a colon",
        ));
    }
    redis::Client::open(config.url.as_str()).map_err(|error| {
        QueueError::caused("the address of Redis must look like redis://host:6379/0", error)
    })?;
    let Some(authority) = &config.authority else { return Ok(()) };
    if !config.url.starts_with("rediss:") {
        return Err(QueueError::new(
            "an authority to trust (caFile) is for addresses that begin with rediss://",
        ));
    }
    let is_certificate = String::from_utf8_lossy(authority).contains("-----BEGIN CERTIFICATE-----");
    let refused = "the file of the authority (caFile) must hold its certificate as PEM";
    if !is_certificate {
        return Err(QueueError::new(refused));
    }
    client(config).map(drop).map_err(|error| QueueError::caused(refused, error))
}

/// The library asks for the provider of the process when it is given certificates, and panics
/// if there is none. Another one that is there already is as good.
fn install_tls(config: &QueueConfig) {
    if config.url.starts_with("rediss:") {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_refused_at_once() {
        for url in ["", "http://localhost", "localhost:6379", "redis://:x:y"] {
            assert!(refuse_nonsense(&QueueConfig::at(url)).is_err(), "{url}");
        }
        for url in ["redis://localhost", "rediss://ada:x@redis.example:6380/2"] {
            assert!(refuse_nonsense(&QueueConfig::at(url)).is_ok(), "{url}");
        }
        for (url, authority) in [
            ("redis://localhost", "-----BEGIN CERTIFICATE-----"),
            ("rediss://localhost", "a certificate"),
            ("rediss://localhost", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n"),
        ] {
            let config = QueueConfig { authority: Some(authority.into()), ..QueueConfig::at(url) };
            install_tls(&config);
            let refused = refuse_nonsense(&config).unwrap_err().to_string();
            assert!(refused.contains("caFile"), "{refused}");
        }
        let colon = QueueConfig { name: "a:b".to_owned(), ..QueueConfig::at("redis://localhost") };
        assert!(refuse_nonsense(&colon).is_err());
    }

    #[test]
    fn a_redis_that_may_forget_jobs_is_told_of() {
        let config = QueueConfig::at("redis://localhost:6379");
        let told = introduction(&config, "redis_version:7.0.15\r\nmaxmemory_policy:allkeys-lru\r\n");
        assert!(told.starts_with("Redis 7.0.15 answers in redis://localhost:6379"), "{told}");
        assert!(told.ends_with("BullMQ wants noeviction"), "{told}");
        assert!(!introduction(&config, "maxmemory_policy:noeviction\r\n").contains("wants"));
    }
}
