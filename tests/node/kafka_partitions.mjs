// Writes the partition that kafkajs's default partitioner chooses for each key; one key per line.
//
// node kafka_partitions.mjs PARTITIONS
import { createInterface } from 'node:readline';
import kafkajs from 'kafkajs';

const partitionMetadata = Array.from({ length: Number(process.argv[2]) }, (_, partitionId) => ({
  partitionId,
  leader: 1,
}));
const partition = kafkajs.Partitioners.DefaultPartitioner();
for await (const key of createInterface({ input: process.stdin })) {
  console.log(partition({ topic: 'any', partitionMetadata, message: { key } }));
}
