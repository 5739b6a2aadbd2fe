//! A connection whose statements are answered in time, or fail.
//!
//! A network can swallow what is sent without a word: a lost route, a firewall that forgot the
//! connection, a host that is gone. To the operating system such a connection is well for a quarter
//! of an hour, and the library would wait on it, on giving it back, too. So every statement has a limit
//! here; a connection that passes it is thrown away, and with it all that were opened before, since
//! they most likely went the same way.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Either, Error, Execute, Executor, Postgres, SqlStr};
use tokio::time::Sleep;

/// Until then no second line about silent connections is logged.
const QUIET: Duration = Duration::from_secs(10);

/// How long a connection without limits may take to go back.
const UNHURRIED: Duration = Duration::from_secs(60);

/// What is known of the way to the server.
#[derive(Default)]
pub(super) struct Line {
    /// When it was last noticed that a connection is silent.
    silent: Mutex<Option<Instant>>,
}

impl Line {
    fn fell_silent(&self) {
        let now = Instant::now();
        let before = self.silent.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        if before.is_none_or(|before| now - before > QUIET) {
            tracing::warn!("PostgreSQL does not answer: all connections to it are opened anew");
        }
    }

    /// Whether a connection of this age may have fallen silent with the others.
    pub(super) fn is_in_doubt(&self, age: Duration) -> bool {
        let silent = *self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.is_some_and(|silent| age >= silent.elapsed())
    }
}

/// A connection for as long as somebody uses it.
pub(crate) struct Session {
    /// Taken when it goes back.
    pooled: Option<PoolConnection<Postgres>>,
    watch: Watch,
    stand: Stand,
}

/// How a session can go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// As it came.
    Clear,
    /// A transaction is open, or was left open.
    Open,
    /// Nobody knows whether one is.
    Unknown,
}

/// How long an answer may take, and what is done when it does not come.
struct Watch {
    /// None where a statement may take as long as it takes.
    patience: Option<Duration>,
    line: Arc<Line>,
    /// Whether the connection is silent.
    is_lost: bool,
}

impl Watch {
    fn lose(&mut self) -> Error {
        self.is_lost = true;
        self.line.fell_silent();
        let limit = self.patience.unwrap_or_default().as_secs_f64();
        let silence = format!("PostgreSQL has not answered within {limit} s");
        Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, silence))
    }

    async fn limited<T>(&mut self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let Some(patience) = self.patience else { return answer.await };
        match tokio::time::timeout(patience, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(self.lose()),
        }
    }
}

impl Session {
    pub(super) fn new(pooled: PoolConnection<Postgres>, patience: Option<Duration>, line: Arc<Line>) -> Self {
        Self { pooled: Some(pooled), watch: Watch { patience, line, is_lost: false }, stand: Stand::Clear }
    }

    /// Opens a transaction that is taken back unless it is committed. A session whose transaction was
    /// left open is good for nothing but to go back.
    pub(crate) async fn begin_with(&mut self, begin: &'static str) -> Result<Transaction<'_>, Error> {
        self.switch(begin, Stand::Open).await?;
        Ok(Transaction { held: Held::Lent(self) })
    }

    /// The same, and the connection belongs to the transaction.
    pub(super) async fn into_transaction(
        mut self,
        begin: &'static str,
    ) -> Result<Transaction<'static>, Error> {
        self.switch(begin, Stand::Open).await?;
        Ok(Transaction { held: Held::Owned(self) })
    }

    /// Begins or ends a transaction. If nobody waited for the answer, the connection would go back with the
    /// transaction open, and whatever is written next on it would look durable and not be.
    async fn switch(&mut self, statement: &'static str, then: Stand) -> Result<(), Error> {
        self.stand = Stand::Unknown;
        sqlx::raw_sql(statement).execute(&mut *self).await?;
        self.stand = then;
        Ok(())
    }

    fn parts(&mut self) -> Result<(&mut PgConnection, &mut Watch), Error> {
        let pooled = self.pooled.as_mut().ok_or(Error::PoolClosed)?;
        Ok((&mut *pooled, &mut self.watch))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut pooled) = self.pooled.take() else { return };
        if self.watch.is_lost || self.stand == Stand::Unknown {
            pooled.close_on_drop();
            return;
        }
        let (is_open, patience) = (self.stand == Stand::Open, self.watch.patience.unwrap_or(UNHURRIED));
        let line = self.watch.line.clone();
        // Whoever gives it back does not wait until the server has said that nothing is under way on it. If
        // that is never said, its place in the pool is free all the same.
        tokio::spawn(async move {
            let goes_back = async {
                if is_open && sqlx::raw_sql("ROLLBACK").execute(&mut *pooled).await.is_err() {
                    pooled.close_on_drop();
                    return;
                }
                pooled.return_to_pool().await;
            };
            if tokio::time::timeout(patience, goes_back).await.is_err() {
                pooled.close_on_drop();
                line.fell_silent();
            }
        });
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("patience", &self.watch.patience).finish_non_exhaustive()
    }
}

/// A transaction on a session.
pub(crate) struct Transaction<'a> {
    held: Held<'a>,
}

enum Held<'a> {
    Owned(Session),
    Lent(&'a mut Session),
}

impl Transaction<'_> {
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        self.switch("COMMIT", Stand::Clear).await
    }

    pub(crate) async fn rollback(mut self) -> Result<(), Error> {
        self.switch("ROLLBACK", Stand::Clear).await
    }
}

impl Deref for Transaction<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        match &self.held {
            Held::Owned(session) => session,
            Held::Lent(session) => session,
        }
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Session {
        match &mut self.held {
            Held::Owned(session) => session,
            Held::Lent(session) => session,
        }
    }
}

type Answer = Result<Either<PgQueryResult, PgRow>, Error>;

impl<'c> Executor<'c> for &'c mut Session {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Answer>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        match self.parts() {
            Ok((connection, watch)) => {
                Answers { answers: connection.fetch_many(query), watch, limit: None, is_waiting: false }
                    .boxed()
            }
            Err(gone) => stream::iter([Err(gone)]).boxed(),
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let (connection, watch) = self.parts()?;
            watch.limited(connection.fetch_optional(query)).await
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let (connection, watch) = self.parts()?;
            watch.limited(connection.prepare_with(sql, parameters)).await
        })
    }
}

/// What a statement is answered, row by row. Each may take as long as the limit says: whoever reads may
/// take a while for ten thousand of them.
struct Answers<'e> {
    answers: BoxStream<'e, Answer>,
    watch: &'e mut Watch,
    /// Made only when something is waited for.
    limit: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl Answers<'_> {
    /// Ready when the next row has been waited for in vain.
    fn poll_limit(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(patience) = self.watch.patience else { return Poll::Pending };
        let limit = self.limit.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if !std::mem::replace(&mut self.is_waiting, true) {
            limit.as_mut().reset(tokio::time::Instant::now() + patience);
        }
        limit.as_mut().poll(context)
    }
}

impl Stream for Answers<'_> {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Answer>> {
        if let Poll::Ready(answer) = self.answers.poll_next_unpin(context) {
            self.is_waiting = false;
            return Poll::Ready(answer);
        }
        ready!(self.poll_limit(context));
        self.answers = stream::empty().boxed();
        Poll::Ready(Some(Err(self.watch.lose())))
    }
}
