package downlink.support;

import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A test of what only AMQP can do, on each of the device SDK's AMQP transports. */
@Target(ElementType.METHOD)
@Retention(RetentionPolicy.RUNTIME)
@ParameterizedTest
@EnumSource(value = IotHubClientProtocol.class, names = {"AMQPS", "AMQPS_WS"})
public @interface OverAmqp {}
