package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.service.exceptions.IotHubBadFormatException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubException;
import com.microsoft.azure.sdk.iot.service.query.QueryClient;
import com.microsoft.azure.sdk.iot.service.query.QueryPageOptions;
import com.microsoft.azure.sdk.iot.service.query.RawQueryResponse;
import com.microsoft.azure.sdk.iot.service.query.TwinQueryResponse;
import com.microsoft.azure.sdk.iot.service.twin.Twin;
import downlink.support.BackEnd;
import downlink.support.Hubs;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Queries by the service SDK (registry.md §5). */
class QueriesTest {
    /** What stands in a tag of one device each: none of it may be anything but data. */
    private static final List<String> HOSTILE = List.of(
        "'; DROP TABLE twins; --", "' OR '1'='1", "\" OR \"\"=\"", "\\", "\\' OR 1=1 --", "%s ? :x $1", "\u00e9");
    private final QueryClient queries = new QueryClient(Hubs.devices().policy("service"));
    private static final String SITE = UUID.randomUUID().toString();
    private static final List<String> ids = new ArrayList<>();
    private final String mine = "tags.site = '" + SITE + "'";

    @BeforeAll
    static void registers() throws Exception {
        BackEnd backEnd = Hubs.backEnd();
        for (int n = 0; n < HOSTILE.size(); n += 1) {
            String id = backEnd.register().getDeviceId();
            Twin patch = new Twin(id);
            patch.setETag("*");
            patch.getTags().put("site", SITE);
            patch.getTags().put("n", n);
            patch.getTags().put("text", HOSTILE.get(n));
            backEnd.twins.patch(patch);
            ids.add(id);
        }
    }

    @Test
    void three_pages_of_twins_come_in_the_order_of_registration() throws Exception {
        QueryPageOptions size = QueryPageOptions.builder().pageSize(3).build();
        TwinQueryResponse found = queries.queryTwins("SELECT * FROM devices WHERE " + mine, size);
        List<String> seen = new ArrayList<>();
        while (found.hasNext()) {
            Twin twin = found.next(size);
            assertEquals(seen.size(), ((Number) twin.getTags().get("n")).intValue());
            seen.add(twin.getDeviceId());
        }
        assertEquals(ids, seen);
    }

    @Test
    void a_continuation_taken_along_goes_on_where_it_stopped() throws Exception {
        QueryPageOptions size = QueryPageOptions.builder().pageSize(3).build();
        String text = "SELECT * FROM devices WHERE " + mine;
        TwinQueryResponse first = queries.queryTwins(text, size);
        String continuation = first.getContinuationToken();
        QueryPageOptions on =
            QueryPageOptions.builder().pageSize(3).continuationToken(continuation).build();
        assertEquals(ids.get(3), queries.queryTwins(text, on).next().getDeviceId());
        assertThrows(IotHubBadFormatException.class, () -> queries.queryTwins(text + " ", on));
    }

    @Test
    void selections_and_groups_are_raw_rows() throws Exception {
        RawQueryResponse rows = queries.queryRaw(
            "SELECT deviceId, tags.n * 2 AS twice FROM devices WHERE " + mine + " AND tags.n = 5");
        assertTrue(rows.hasNext());
        assertEquals("{\"deviceId\":\"" + ids.get(5) + "\",\"twice\":10}", compact(rows.next()));
        assertFalse(rows.hasNext());
        RawQueryResponse counted = queries.queryRaw("SELECT COUNT() AS n FROM devices WHERE " + mine);
        assertEquals("{\"n\":7}", compact(counted.next()));
    }

    @Test
    void what_stands_between_quotes_is_data() throws Exception {
        for (int n = 0; n < HOSTILE.size(); n += 1) {
            String text = HOSTILE.get(n).replace("\\", "\\\\").replace("'", "\\'");
            // The SDK takes no other characters than those of ASCII.
            text = text.replace("\u00e9", "\\u00e9");
            TwinQueryResponse found = queries.queryTwins(
                "SELECT * FROM devices WHERE " + mine + " AND tags.text = '" + text + "'");
            assertEquals(ids.get(n), found.next().getDeviceId());
            assertFalse(found.hasNext());
        }
    }

    @Test
    void errors_name_the_character_where_the_query_goes_wrong() {
        IotHubException failure =
            assertThrows(
                IotHubBadFormatException.class,
                () -> queries.queryTwins("SELECT * FROM devices WHERE tags.a ~ 1"));
        String message = failure.getMessage();
        assertTrue(message.contains("character 36: '~' has no meaning here"), message);
    }

    @Test
    void nothing_is_found_without_a_row() throws Exception {
        assertFalse(queries.queryTwins("SELECT * FROM devices WHERE tags.site = 'nowhere'").hasNext());
    }

    private static String compact(String json) {
        return json.replaceAll("\\s", "").replace(".0}", "}");
    }
}
