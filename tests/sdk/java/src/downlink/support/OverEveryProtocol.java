package downlink.support;

import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A test that runs once for each protocol of the device SDK, HTTPS too. */
@Target(ElementType.METHOD)
@Retention(RetentionPolicy.RUNTIME)
@ParameterizedTest
@EnumSource(IotHubClientProtocol.class)
public @interface OverEveryProtocol {}
