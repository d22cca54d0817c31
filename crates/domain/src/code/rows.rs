//! What a row of the catalogue becomes.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $amqp:ident, $grpc:ident, $retry:ident;)*) => {
        /// One code of the catalogue, which is one cause of a failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code, for tests that walk them through every door.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The six-digit number.
            pub const fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            /// The name that goes into the `iothub-errorcode` header.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The condition of an AMQP outcome, detach or end.
            pub const fn amqp(self) -> AmqpCondition {
                match self { $(Self::$name => AmqpCondition::$amqp,)* }
            }

            /// The status of a gRPC call.
            pub const fn grpc(self) -> GrpcStatus {
                match self { $(Self::$name => GrpcStatus::$grpc,)* }
            }

            /// Whether it is any use to make the same request again.
            pub const fn retry(self) -> Retry {
                match self { $(Self::$name => Retry::$retry,)* }
            }
        }
    };
}
