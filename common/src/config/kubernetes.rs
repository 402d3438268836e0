//! Variables that Kubernetes sets in every pod beside a Service: for one called `longshore-producer` they begin like
//! our own. These variables are not settings.

/// Whether a variable describes a Service. Nobody else writes these names; but `…_PORT` alone might be meant
/// for a setting, so there the value has to be an address as well.
pub(super) fn is_of_kubernetes(name: &str, value: &str) -> bool {
    // Ours with two.
    if name.starts_with("LONGSHORE__") || !name.starts_with("LONGSHORE_") {
        return false;
    }
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") {
        return true;
    }
    if let Some((_, port)) = name.rsplit_once("_SERVICE_PORT_") {
        return is_port_name(port);
    }
    if name.ends_with("_PORT") && is_address(value) {
        return true;
    }
    // LONGSHORE_PORT_8080_TCP, and its parts.
    let base = ["_ADDR", "_PORT", "_PROTO"];
    let base = base
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(name);
    let protocols = ["_TCP", "_UDP", "_SCTP"];
    let Some(numbered) = protocols.iter().find_map(|end| base.strip_suffix(end)) else {
        return false;
    };
    numbered
        .rsplit_once("_PORT_")
        .is_some_and(|(_, number)| number.parse::<u16>().is_ok())
}

fn is_port_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_address(value: &str) -> bool {
    value
        .split_once("://")
        .is_some_and(|(protocol, _)| matches!(protocol, "tcp" | "udp" | "sctp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_describes_a_service_is_passed_over() {
        for service in ["LONGSHORE", "LONGSHORE_PRODUCER", "LONGSHORE_V2"] {
            for (end, value) in [
                ("_SERVICE_HOST", "10.0.0.7"),
                ("_SERVICE_PORT", "8080"),
                ("_SERVICE_PORT_HTTP", "8080"),
                ("_SERVICE_PORT_HTTP_METRICS", "8080"),
                ("_PORT", "tcp://10.0.0.7:8080"),
                ("_PORT", "udp://[fd00::7]:8080"),
                ("_PORT_8080_TCP", "tcp://10.0.0.7:8080"),
                ("_PORT_8080_TCP_ADDR", "10.0.0.7"),
                ("_PORT_8080_TCP_PORT", "8080"),
                ("_PORT_8080_TCP_PROTO", "tcp"),
                ("_PORT_53_UDP_PROTO", "udp"),
            ] {
                let pairs = [(format!("{service}{end}"), value.to_owned())];
                assert!(is_of_kubernetes(&pairs[0].0, value), "{pairs:?}");
                assert!(crate::config::load_from(pairs).is_ok());
            }
        }
    }

    #[test]
    fn what_may_be_meant_for_a_setting_is_not() {
        for (name, value) in [
            ("LONGSHORE_PORT", "8080"),
            ("LONGSHORE_PORT_HTTP_TCP", "x"),
            ("LONGSHORE_SERVICE", "x"),
            ("LONGSHORE_BROKER", "tcp://10.0.0.7:5672"),
            ("LONGSHORE__BROKER__PORT", "tcp://10.0.0.7:5672"),
        ] {
            assert!(!is_of_kubernetes(name, value), "{name}");
            let pairs = [(name.to_owned(), value.to_owned())];
            assert!(crate::config::load_from(pairs).is_err(), "{name}");
        }
    }
}
