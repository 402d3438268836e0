//! The list of believed logins on the broker: declared, and held against that of the others.

use lapin::ExchangeKind;
use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::{Desk, difference, name};
use crate::broker::rabbit::explain::{
    ACCESS_REFUSED, Fault, NOT_FOUND, PRECONDITION_FAILED, inequivalence,
};
use crate::broker::{BrokerError, Difference, differences};
use crate::topology::TrustMark;

/// The argument that bears the list: the one that RabbitMQ compares on an exchange.
const ARGUMENT: &str = "alternate-exchange";

/// Where the rest of a list is that the broker does not tell.
const ANOTHER_LIST: &str = "another list";

/// Declares the mark.
///
/// # Errors
/// [`BrokerError::Distrust`] where another list is declared.
pub(super) async fn declare(desk: &mut Desk<'_>, mark: &TrustMark) -> Result<(), BrokerError> {
    match exchange(desk, mark, &mark.argument()).await? {
        Ok(()) => {}
        Err(fault) if fault.code() == Some(PRECONDITION_FAILED) => {
            return Err(distrust(mark, theirs(desk, mark).await?));
        }
        Err(fault) if fault.code() == Some(ACCESS_REFUSED) => return find(desk, mark).await,
        Err(fault) => return Err(fault.into()),
    }
    match witness(desk, mark).await? {
        // The list is agreed on; a program with the right will declare its witness.
        Err(fault) if fault.code() == Some(ACCESS_REFUSED) => Ok(()),
        answer => Ok(answer?),
    }
}

/// Finds the mark. A user without the right to declare can see which exchanges exist.
///
/// # Errors
/// [`BrokerError::Distrust`] where another list is declared, [`BrokerError::Refused`] where none is.
pub(super) async fn find(desk: &mut Desk<'_>, mark: &TrustMark) -> Result<(), BrokerError> {
    if !is_there(desk, mark.exchange()).await? {
        return Err(BrokerError::Refused(format!(
            "the exchange {:?} is not there, and this user may not declare it",
            mark.exchange()
        )));
    }
    if !is_there(desk, &mark.witness()).await? {
        return Err(distrust(mark, ANOTHER_LIST.to_owned()));
    }
    Ok(())
}

/// Compares the mark with the declared one, changing nothing.
pub(super) async fn compare(
    desk: &mut Desk<'_>,
    mark: &TrustMark,
) -> Result<Option<Difference>, BrokerError> {
    let problem = match agree(desk, mark).await {
        Ok(true) => None,
        Ok(false) => Some(differences::missing("exchange")),
        Err(error @ BrokerError::Distrust { .. }) => Some(error.to_string()),
        Err(error) => return Err(error),
    };
    let named = name(mark.exchange())?;
    Ok(problem.map(|problem| difference(&named, problem)))
}

/// Whether a list is declared, which is the same then.
///
/// # Errors
/// [`BrokerError::Distrust`] where another list is declared.
pub(super) async fn agree(desk: &mut Desk<'_>, mark: &TrustMark) -> Result<bool, BrokerError> {
    let is_declared = is_there(desk, mark.exchange()).await?;
    if is_declared {
        declare(desk, mark).await?;
    }
    Ok(is_declared)
}

fn distrust(mark: &TrustMark, theirs: String) -> BrokerError {
    let ours = mark.logins().to_string();
    BrokerError::Distrust { ours, theirs }
}

/// The list that is declared. The broker tells it when it is asked for none at all.
async fn theirs(desk: &mut Desk<'_>, mark: &TrustMark) -> Result<String, BrokerError> {
    let found = match exchange(desk, mark, "").await? {
        Err(fault) => {
            let words = fault.words();
            // Cut off in the middle it lacks its last quotation mark.
            let whole = inequivalence(&words).and_then(|found| mark.read(found.found));
            let cut = || mark.read(words.rsplit('\'').next()?);
            whole.or_else(cut)
        }
        Ok(()) => None,
    };
    Ok(found.unwrap_or_else(|| ANOTHER_LIST.to_owned()))
}

async fn exchange(
    desk: &mut Desk<'_>,
    mark: &TrustMark,
    argument: &str,
) -> Result<Result<(), Fault>, BrokerError> {
    let named = name(mark.exchange())?;
    let mut arguments = FieldTable::default();
    arguments.insert(ARGUMENT.into(), AMQPValue::LongString(argument.into()));
    desk.one("declaring whom to believe", |channel| async move {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        channel
            .exchange_declare(named, ExchangeKind::Topic, options, arguments)
            .await
    })
    .await
}

/// Declares the exchange that bears the digest of the list in its name. Bound to the other one, it goes when
/// that goes.
async fn witness(desk: &mut Desk<'_>, mark: &TrustMark) -> Result<Result<(), Fault>, BrokerError> {
    let (from, to) = (name(&mark.witness())?, name(mark.exchange())?);
    desk.one("declaring whom to believe", |channel| async move {
        let options = ExchangeDeclareOptions {
            durable: true,
            auto_delete: true,
            ..ExchangeDeclareOptions::default()
        };
        let arguments = FieldTable::default();
        channel
            .exchange_declare(from.clone(), ExchangeKind::Topic, options, arguments)
            .await?;
        let (options, arguments) = (ExchangeBindOptions::default(), FieldTable::default());
        channel
            .exchange_bind(to, from, "".into(), options, arguments)
            .await
    })
    .await
}

async fn is_there(desk: &mut Desk<'_>, exchange: &str) -> Result<bool, BrokerError> {
    let named = name(exchange)?;
    let answer = desk
        .one("looking at an exchange", |channel| {
            super::exchange_declare(channel, named, true)
        })
        .await?;
    match answer {
        Ok(()) => Ok(true),
        Err(fault) if fault.code() == Some(NOT_FOUND) => Ok(false),
        Err(fault) => Err(fault.into()),
    }
}
