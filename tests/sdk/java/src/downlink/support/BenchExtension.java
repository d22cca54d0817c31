package downlink.support;

import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ParameterContext;
import org.junit.jupiter.api.extension.ParameterResolver;

/** Gives a test the {@link Bench} it asks for, and clears it when the test ends. */
public final class BenchExtension implements ParameterResolver {
    @Override
    public boolean supportsParameter(ParameterContext parameter, ExtensionContext context) {
        return parameter.getParameter().getType() == Bench.class;
    }

    @Override
    public Object resolveParameter(ParameterContext parameter, ExtensionContext context) {
        return context.getStore(ExtensionContext.Namespace.create(Bench.class))
            .getOrComputeIfAbsent(Held.class, key -> new Held(), Held.class).bench;
    }

    private static final class Held implements AutoCloseable {
        private final Bench bench = new Bench();

        @Override
        public void close() {
            bench.clear();
        }
    }
}
