use proptest::prelude::*;

use super::*;
use crate::id::DeviceId;

fn rate(text: &str) -> Limit {
    text.parse().unwrap()
}

fn device(number: usize) -> DeviceId {
    format!("device-{number}").parse().unwrap()
}

#[test]
fn texts_read_as_rates_and_back() {
    for (text, per_second, burst) in [
        ("100/min", 100.0 / 60.0, 10),
        ("50/s", 50.0, 50),
        ("5/s", 5.0, 5),
        ("1/h", 1.0 / 3600.0, 1),
        ("12/s burst 40", 12.0, 40),
        ("1000000000/s", 1e9, 1_000_000_000),
    ] {
        let rate: Rate = text.parse().unwrap();
        assert!((rate.per_second() - per_second).abs() < 1e-9, "{text}");
        assert_eq!(rate.burst(), burst, "{text}");
        assert_eq!(rate.to_string(), text);
    }
    assert_eq!(" 7 / m ".parse::<Rate>().unwrap().to_string(), "7/min");
    assert_eq!(rate("unlimited"), Limit::Unlimited);
}

#[test]
fn other_texts_are_no_limits() {
    let long = format!("1/s{}", " ".repeat(100));
    for text in [
        "",
        "100",
        "/s",
        "0/s",
        "-1/s",
        "+1/s",
        "1.5/s",
        "1/day",
        "1/s burst",
        "1/s burst 0",
        "1/s burst x",
        "1000000001/s",
        "99999999999/s",
        "none",
        &long,
    ] {
        assert_eq!(text.parse::<Limit>(), Err(NotARate), "{text}");
    }
}

#[test]
fn a_tier_has_the_rates_of_its_units_but_never_less_than_its_floor() {
    let of = |preset: Preset, units, operation| {
        let rate = preset.rates(units).of(operation);
        rate.map(|rate| rate.to_string())
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(of(Preset::None, 5, HubOperation::Telemetry), None);
    assert_eq!(of(Preset::S1, 1, HubOperation::Telemetry), text("100/s"));
    assert_eq!(of(Preset::S1, 10, HubOperation::Telemetry), text("120/s"));
    assert_eq!(of(Preset::S2, 2, HubOperation::Connect), text("240/s"));
    assert_eq!(of(Preset::S3, 1, HubOperation::Registry), text("5000/min"));
    assert_eq!(of(Preset::S2, 20, HubOperation::TwinRead), text("200/s"));
    assert_eq!(of(Preset::S2, 2, HubOperation::TwinUpdate), text("50/s"));
    for operation in HubOperation::ALL {
        assert!(
            Preset::S1.rates(1).of(*operation).is_some(),
            "{operation:?}"
        );
    }
}

#[test]
fn what_is_stated_goes_over_what_is_configured_and_a_device_over_all() {
    let plan = RatePlan {
        hub: Preset::S1.rates(1),
        ..RatePlan::default()
    };
    let id = device(7);
    let stated = LimitOverrides::of([
        (LimitKey::Hub(HubOperation::Telemetry), Limit::Unlimited),
        (
            LimitKey::EachDevice(DeviceOperation::Telemetry),
            rate("5/s"),
        ),
        (LimitKey::EachDevice(DeviceOperation::TwinRead), rate("1/s")),
        (
            LimitKey::Device(id.clone(), DeviceOperation::Telemetry),
            Limit::Unlimited,
        ),
    ])
    .unwrap();
    let under = plan.under(&stated);
    assert_eq!(under.hub.of(HubOperation::Telemetry), None);
    assert_eq!(
        under.hub.of(HubOperation::Registry),
        plan.hub.of(HubOperation::Registry)
    );
    let others = under.of_device(&stated, &device(8));
    assert_eq!(
        Limit::from(others.of(DeviceOperation::Telemetry)),
        rate("5/s")
    );
    let own = under.of_device(&stated, &id);
    assert_eq!(own.of(DeviceOperation::Telemetry), None);
    assert_eq!(Limit::from(own.of(DeviceOperation::TwinRead)), rate("1/s"));
}

#[test]
fn a_change_replaces_what_it_says_and_leaves_the_rest() {
    let general = LimitKey::Hub(HubOperation::Query);
    let own = LimitKey::Device(device(1), DeviceOperation::Connect);
    let other = LimitKey::Device(device(2), DeviceOperation::Connect);
    let stated = [&general, &own, &other].map(|key| (key.clone(), rate("1/s")));
    let stated = LimitOverrides::of(stated).unwrap();
    let keys = |replaces, entries| {
        let changed = stated.changed_by(LimitsChange { replaces, entries });
        let changed = changed.unwrap();
        let keys: Vec<LimitKey> = changed.iter().map(|(key, _)| key.clone()).collect();
        keys
    };
    assert_eq!(
        keys(Replaces::Nothing, vec![(own.clone(), None)]),
        [general.clone(), other.clone()]
    );
    assert_eq!(keys(Replaces::General, vec![]), [own, other.clone()]);
    let replaces = Replaces::Device(device(1));
    assert_eq!(keys(replaces, vec![]), [general, other]);
}

#[test]
fn more_devices_than_may_have_limits_of_their_own_are_refused() {
    let entries = |count| {
        (0..count).map(|number| {
            let key = LimitKey::Device(device(number), DeviceOperation::Telemetry);
            (key, Limit::Unlimited)
        })
    };
    let most = LimitOverrides::of(entries(MAX_LIMITED_DEVICES)).unwrap();
    let one_more = LimitKey::Device(device(MAX_LIMITED_DEVICES), DeviceOperation::Telemetry);
    let change = |key| LimitsChange {
        replaces: Replaces::Nothing,
        entries: vec![(key, Some(Limit::Unlimited))],
    };
    assert_eq!(
        most.changed_by(change(one_more)),
        Err(LimitsError::TooManyDevices)
    );
    let of_a_known = LimitKey::Device(device(0), DeviceOperation::Connect);
    assert!(most.changed_by(change(of_a_known)).is_ok());
}

fn limits() -> impl Strategy<Value = Limit> {
    let rates = (
        1_u32..=MAX_RATE_COUNT,
        0_usize..3,
        proptest::option::of(1_u32..=1000),
    );
    prop_oneof![
        Just(Limit::Unlimited),
        rates.prop_map(|(count, per, burst)| {
            let per = [Per::Second, Per::Minute, Per::Hour][per];
            Limit::Rate(Rate::new(count, per, burst).unwrap())
        })
    ]
}

fn keys() -> impl Strategy<Value = LimitKey> {
    prop_oneof![
        (0..HubOperation::COUNT).prop_map(|place| LimitKey::Hub(HubOperation::ALL[place])),
        (0..DeviceOperation::COUNT)
            .prop_map(|place| LimitKey::EachDevice(DeviceOperation::ALL[place])),
        (0_usize..3, 0..DeviceOperation::COUNT)
            .prop_map(|(id, place)| LimitKey::Device(device(id), DeviceOperation::ALL[place])),
    ]
}

proptest! {
    #[test]
    fn limits_are_the_same_after_json(entries in proptest::collection::vec((keys(), limits()), 0..20)) {
        let overrides = LimitOverrides::of(entries).unwrap();
        let read = LimitOverrides::from_json(&overrides.to_json()).unwrap();
        prop_assert_eq!(read, Some(overrides));
    }

    #[test]
    fn shares_are_the_rate_together_and_fair(
        rate in 0.1_f64..1e6,
        wants in proptest::collection::vec(0_u32..2_000_000, 1..20),
    ) {
        let shares: Vec<f64> = (0..wants.len()).map(|mine| share(rate, &wants, mine)).collect();
        let total: f64 = shares.iter().sum();
        prop_assert!((total - rate).abs() < rate * 1e-6 + 1e-6, "{} of {}", total, rate);
        let even = rate / f64::from(u32::try_from(wants.len()).unwrap());
        for (want, mine) in wants.iter().zip(&shares) {
            let want = f64::from(*want);
            // Whoever asks for an even part or less has it.
            prop_assert!(*mine >= want.min(even) - 1e-6, "{} of {}", mine, want);
            for (other_want, other) in wants.iter().zip(&shares) {
                // Nobody has more than one that is left wanting.
                let is_content = *mine >= want - 1e-6;
                let is_less = f64::from(*other_want) <= want;
                prop_assert!(is_content || *other <= mine + 1e-6 || is_less);
            }
        }
    }
}
