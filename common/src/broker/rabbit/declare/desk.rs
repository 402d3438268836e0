//! A channel to ask the broker things on, one after the other or many at once.

use std::sync::Arc;

use futures_util::future::join_all;
use lapin::Channel;
use lapin::types::ShortString;

use crate::broker::BrokerError;
use crate::broker::rabbit::connection::{Link, channel_is_gone, close_channel};
use crate::broker::rabbit::explain::{
    ACCESS_REFUSED, Fault, NOT_FOUND, PRECONDITION_FAILED, is_too_late, mismatch, within,
};

/// How many declarations are under way at once.
const AT_ONCE: usize = 16;

/// A channel to ask the broker things on; a new one whenever an answer has cost the last.
pub(super) struct Desk<'l> {
    link: &'l Arc<Link>,
    channel: Option<Channel>,
}

impl<'l> Desk<'l> {
    pub(super) fn new(link: &'l Arc<Link>) -> Self {
        Self {
            link,
            channel: None,
        }
    }

    async fn channel(&mut self) -> Result<Channel, BrokerError> {
        match &self.channel {
            Some(channel) if channel.status().connected() => Ok(channel.clone()),
            _ => {
                let channel = self.link.channel().await?;
                self.channel = Some(channel.clone());
                Ok(channel)
            }
        }
    }

    /// Asks one thing. The outer error is that it cannot be asked at all.
    pub(super) async fn one<T, F>(
        &mut self,
        what: &'static str,
        ask: impl FnOnce(Channel) -> F,
    ) -> Result<Result<T, Fault>, BrokerError>
    where
        F: Future<Output = lapin::Result<T>>,
    {
        let channel = self.channel().await?;
        let answer = within(self.link.settings.patience, what, ask(channel.clone())).await;
        if let Err(fault) = &answer
            && channel_is_gone(&channel, fault)
        {
            self.channel = None;
        }
        Ok(answer)
    }

    /// Declares one thing, or finds it where this user may not declare it. Says whether it was only found.
    pub(super) async fn declare_or_find<F, A>(
        &mut self,
        thing: &str,
        name: &ShortString,
        declare: impl Fn(bool) -> A,
    ) -> Result<bool, BrokerError>
    where
        A: FnOnce(Channel) -> F,
        F: Future<Output = lapin::Result<()>>,
    {
        let Err(fault) = self.one("declaring", declare(false)).await? else {
            return Ok(false);
        };
        match fault.code() {
            Some(ACCESS_REFUSED) => {}
            Some(PRECONDITION_FAILED) => {
                return Err(BrokerError::Mismatch(mismatch(&fault.words())));
            }
            _ => return Err(fault.into()),
        }
        self.find(thing, name, declare(true)).await.map(|()| true)
    }

    /// Finds one thing that this user may not declare. A look that finds it costs no channel.
    pub(super) async fn find<F>(
        &mut self,
        thing: &str,
        name: &ShortString,
        look: impl FnOnce(Channel) -> F,
    ) -> Result<(), BrokerError>
    where
        F: Future<Output = lapin::Result<()>>,
    {
        let found = self.one("looking", look).await?;
        found.map_err(|fault| match fault.code() {
            Some(NOT_FOUND) => BrokerError::Refused(format!(
                "the {thing} {:?} is not there, and this user may not declare it",
                name.as_str()
            )),
            _ => fault.into(),
        })
    }

    /// Asks the same about many things, several at once; the first problem ends it.
    pub(super) async fn all<I: Clone, F>(
        &mut self,
        what: &'static str,
        items: &[I],
        ask: impl Fn(Channel, I) -> F,
    ) -> Result<(), BrokerError>
    where
        F: Future<Output = lapin::Result<()>>,
    {
        for items in items.chunks(AT_ONCE) {
            let channel = self.channel().await?;
            let asks = items.iter().map(|item| ask(channel.clone(), item.clone()));
            let answers = async { first_problem(join_all(asks).await) };
            let answered = within(self.link.settings.patience, what, answers).await;
            if let Err(fault) = answered {
                close_channel(&channel, self.link.settings.patience).await;
                return Err(match fault.code() {
                    Some(PRECONDITION_FAILED) => BrokerError::Mismatch(mismatch(&fault.words())),
                    _ => fault.into(),
                });
            }
        }
        Ok(())
    }

    pub(super) async fn close(self) {
        if let Some(channel) = self.channel {
            close_channel(&channel, self.link.settings.patience).await;
        }
    }
}

/// The first problem that says why. What was asked after it on the same channel came too late to be told.
fn first_problem(answers: Vec<lapin::Result<()>>) -> lapin::Result<()> {
    let problems: Vec<lapin::Error> = answers.into_iter().filter_map(Result::err).collect();
    let telling = problems.iter().find(|error| !is_too_late(error));
    match telling.or(problems.first()) {
        Some(error) => Err(error.clone()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPSoftError};
    use lapin::{ChannelState, ErrorKind};

    use super::*;

    #[test]
    fn a_refusal_counts_before_what_came_too_late() {
        let late = || -> lapin::Error {
            ErrorKind::InvalidChannelState(ChannelState::Closing, "exchange.declare").into()
        };
        let refusal = AMQPError::new(AMQPSoftError::ACCESSREFUSED.into(), "refused".into());
        let refused = || -> lapin::Error { ErrorKind::ProtocolError(refusal.clone()).into() };
        let told = |answers: Vec<lapin::Result<()>>| {
            first_problem(answers)
                .map_err(|error| Fault::Amqp(error).code())
                .err()
        };
        assert_eq!(told(vec![Ok(()), Ok(())]), None);
        let refusals = vec![Err(late()), Ok(()), Err(refused()), Err(late())];
        assert_eq!(told(refusals), Some(Some(ACCESS_REFUSED)));
        assert_eq!(told(vec![Err(late())]), Some(None));
    }
}
