//! Logins of RabbitMQ.

use std::fmt::Write as _;

use common::config::Config;
use common::topology::{Fact, Names};

use super::Role;

/// The exchange through which a message reaches a queue by its name.
const DEFAULT_EXCHANGE: &str = r"amq\.default";

/// No name at all.
const NOTHING: &str = "^$";

/// What a login may declare, write to and read from, as regular expressions.
struct Rights {
    configure: String,
    write: String,
    read: String,
}

/// Commands that make the logins and grant them their rights.
pub fn broker(config: &Config) -> String {
    let names = Names::new(config.namespace.clone());
    let host = shell(&config.broker.url.virtual_host());
    let mut script = head(config);
    for role in Role::ALL {
        let login = shell(&role.login(&config.namespace));
        let variable = format!("{}_PASSWORD", role.word().to_uppercase());
        let Rights {
            configure,
            write,
            read,
        } = rights(role, &names);
        // Writing to a String cannot fail.
        let _ = write!(
            script,
            "\n# {}\n\
             rabbitmqctl add_user {login} \"${{{variable}:?}}\" || rabbitmqctl change_password {login} \"${variable}\"\n\
             rabbitmqctl set_permissions -p {host} {login} {} {} {}\n",
            role.users(),
            shell(&configure),
            shell(&write),
            shell(&read),
        );
        if role == Role::Producer {
            let types = one_of(config.plan().known_types.iter().map(|kind| escaped(kind)));
            let _ = writeln!(
                script,
                "rabbitmqctl set_topic_permissions -p {host} {login} {} {} {}",
                shell(&names.exchange(Fact::Received)),
                shell(&types),
                shell(NOTHING),
            );
        }
    }
    script
}

fn head(config: &Config) -> String {
    let logins = Role::ALL.map(|role| format!("\"{}\"", role.login(&config.namespace)));
    let variables = Role::ALL.map(|role| format!("{}_PASSWORD", role.word().to_uppercase()));
    format!(
        "# RabbitMQ: a login for each program. Run this on a node, as a user who may use rabbitmqctl, with the passwords \
         in the\n# variables {}.\n\
         # Then:\n\
         # 1. Name the same logins in [broker] logins for every program, and give all the same [secrets] seal:\n\
         #    LONGSHORE__BROKER__LOGINS='[{}]'\n\
         # 2. Stop the programs, run `longshore topology apply` as {}, which alone may declare, and start them with their\n\
         #    logins in LONGSHORE_BROKER_URL.\n\
         # A new event type or another namespace needs this again.\n",
        variables.join(", "),
        logins.join(", "),
        Role::Operator.login(&config.namespace),
    )
}

fn rights(role: Role, names: &Names) -> Rights {
    let exchange = |fact| escaped(&names.exchange(fact));
    let delays = names.delay_level(0);
    let delays = delays.trim_end_matches(|it: char| it.is_ascii_digit());
    let delays = format!("{}[0-9]+", escaped(delays));
    // A retry waits in a delay level, and a message that came back twice goes straight to the queue for suspects.
    let worker = |more: &[Fact]| {
        let next = more.iter().chain(&[Fact::Dead]).map(|&fact| exchange(fact));
        one_of(next.chain([delays.clone(), DEFAULT_EXCHANGE.to_owned()]))
    };
    let with_suspects = |queue: &str| [escaped(queue), escaped(&Names::suspect(queue))];
    let (write, read) = match role {
        Role::Producer => (one_of([exchange(Fact::Received)]), NOTHING.to_owned()),
        Role::Validate => (
            worker(&[Fact::Accepted, Fact::Rejected]),
            one_of(with_suspects(&names.validate())),
        ),
        Role::Store => (
            worker(&[Fact::Stored, Fact::Rejected]),
            one_of(with_suspects(&names.store())),
        ),
        // Whatever destinations there will be.
        Role::Integrate => (
            worker(&[]),
            one_of([format!("{}.+", escaped(&names.integrate("")))]),
        ),
        Role::Archive => {
            let letters = with_suspects(&names.dead());
            let rejections = with_suspects(&names.rejected());
            let others = [escaped(&names.parked()), escaped(&names.history())];
            let queues = letters.into_iter().chain(rejections).chain(others);
            (worker(&[]), one_of(queues))
        }
        Role::Operator => {
            let all = format!(r"{}\..+", escaped(names.namespace().as_str()));
            return Rights {
                configure: one_of([all.clone()]),
                write: one_of([all.clone(), DEFAULT_EXCHANGE.to_owned()]),
                read: one_of([all]),
            };
        }
    };
    Rights {
        configure: NOTHING.to_owned(),
        write,
        read,
    }
}

/// The regular expression of any of these.
fn one_of(patterns: impl IntoIterator<Item = String>) -> String {
    let patterns: Vec<String> = patterns.into_iter().collect();
    format!("^({})$", patterns.join("|"))
}

/// A name as a regular expression. Names have no other character that means something in one.
fn escaped(name: &str) -> String {
    name.replace('.', r"\.")
}

/// A text as one word of a shell.
fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use common::config::load_from;

    use super::*;

    fn script(url: &str) -> String {
        let variables = [
            ("LONGSHORE_BROKER_URL", url),
            ("LONGSHORE_NAMESPACE", "shop"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        broker(&load_from(variables).unwrap())
    }

    #[test]
    fn each_program_gets_its_rights_and_no_password_is_told() {
        let script = script("amqp://admin:hunter2@h/shop%2fa");
        assert!(!script.contains("hunter2"), "{script}");
        for line in [
            r#"rabbitmqctl add_user 'shop-producer' "${PRODUCER_PASSWORD:?}" || rabbitmqctl change_password 'shop-producer' "$PRODUCER_PASSWORD""#,
            r"rabbitmqctl set_permissions -p 'shop/a' 'shop-producer' '^$' '^(shop\.received)$' '^$'",
            r"rabbitmqctl set_topic_permissions -p 'shop/a' 'shop-producer' 'shop.received' '^(signup\.requested|signup\.confirmed|processing\.requested)$' '^$'",
            r"rabbitmqctl set_permissions -p 'shop/a' 'shop-validate' '^$' '^(shop\.accepted|shop\.rejected|shop\.dead|shop\.delay\.[0-9]+|amq\.default)$' '^(shop\.validate|shop\.validate\.suspect)$'",
            r"rabbitmqctl set_permissions -p 'shop/a' 'shop-integrate' '^$' '^(shop\.dead|shop\.delay\.[0-9]+|amq\.default)$' '^(shop\.integrate\..+)$'",
            r"rabbitmqctl set_permissions -p 'shop/a' 'shop-operator' '^(shop\..+)$' '^(shop\..+|amq\.default)$' '^(shop\..+)$'",
        ] {
            assert!(script.lines().any(|it| it == line), "{line}\n{script}");
        }
        assert!(script.contains(r#"LOGINS='["shop-producer", "shop-validate","#));
    }

    #[test]
    fn no_name_ends_its_word() {
        let script = script("amqp://h/it's");
        assert!(
            script.contains(r"set_permissions -p 'it'\''s' 'shop-store' "),
            "{script}"
        );
    }
}
