package bench;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.listener.BatchMessageListener;
import org.springframework.kafka.listener.ConcurrentMessageListenerContainer;
import org.springframework.kafka.listener.ContainerProperties;

/** Spring Kafka with a batch listener and one statement a batch: BOOTSTRAP TOPIC GROUP DATABASE_URL THREADS. */
public final class BatchListener implements BatchMessageListener<byte[], byte[]> {

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Customer(String id) {}

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Order(String id, long total_amount) {}

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Redemption(String id, String date) {}

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Payload(Redemption redemption, Customer customer, Order order) {}

    private static final ObjectReader READER = new ObjectMapper().readerFor(Payload.class);

    private final JdbcTemplate database;
    private final String store;

    private BatchListener(JdbcTemplate database, String store) {
        this.database = database;
        this.store = store;
    }

    @Override
    public void onMessage(List<ConsumerRecord<byte[], byte[]>> records) {
        List<Payload> payloads = new ArrayList<>(records.size());
        for (ConsumerRecord<byte[], byte[]> record : records) {
            payloads.add(decoded(record.value()));
        }
        if (database == null) {
            return;
        }
        database.execute(store, (java.sql.PreparedStatement statement) -> {
            var connection = statement.getConnection();
            Object[] ids = payloads.stream().map(each -> each.redemption().id()).toArray();
            Object[] customers = payloads.stream().map(each -> each.customer().id()).toArray();
            Object[] points = payloads.stream().map(each -> each.order().total_amount() / 100).toArray();
            statement.setArray(1, connection.createArrayOf("text", ids));
            statement.setArray(2, connection.createArrayOf("text", customers));
            statement.setArray(3, connection.createArrayOf("bigint", points));
            return statement.executeUpdate();
        });
    }

    private static Payload decoded(byte[] body) {
        try {
            return READER.readValue(body);
        } catch (IOException wrong) {
            throw new UncheckedIOException(wrong);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String url = arguments[3];
        Map<String, Object> settings = Map.of(
                ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0],
                ConsumerConfig.GROUP_ID_CONFIG, arguments[2],
                ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest",
                ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
                ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 2_000);
        var consumers = new DefaultKafkaConsumerFactory<byte[], byte[]>(
                settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        var properties = new ContainerProperties(arguments[1]);
        properties.setMessageListener(new BatchListener(url.isEmpty() ? null : pool(url), statement()));
        var container = new ConcurrentMessageListenerContainer<>(consumers, properties);
        container.setConcurrency(Integer.parseInt(arguments[4]));
        Runtime.getRuntime().addShutdownHook(new Thread(container::stop));
        container.start();
        Thread.currentThread().join();
    }

    private static JdbcTemplate pool(String url) {
        var config = new HikariConfig();
        config.setJdbcUrl(url.replace("postgresql://postgres@", "jdbc:postgresql://"));
        config.setUsername("postgres");
        return new JdbcTemplate(new HikariDataSource(config));
    }

    /** The statement of all peers, from the place where it is kept; JDBC numbers no parameters. */
    private static String statement() throws IOException {
        String source = Files.readString(Path.of("bench/peers/ledger.py"), StandardCharsets.UTF_8);
        String text = source.substring(source.indexOf("STORE = \"\"\"") + "STORE = \"\"\"".length());
        return text.substring(0, text.indexOf("\"\"\"")).replaceAll("\\$\\d", "?");
    }
}
